"""From a name or an nn.Module to a module that fits the data."""

from netwright.architectures.activations import BinaryStep, activations
from netwright.architectures.builders import networks
from netwright.architectures.choice import network
from netwright.architectures.sound import sound_rnn
from netwright.architectures.trial import try_on_example
from netwright.architectures.weights import count_parameters, weights_sha256

networks["sound-rnn"] = sound_rnn

__all__ = [
    "BinaryStep",
    "activations",
    "count_parameters",
    "network",
    "networks",
    "try_on_example",
    "weights_sha256",
]
