"""From a name or an nn.Module to a module that fits the data."""

from netwright.networks.activations import BinaryStep, activations
from netwright.networks.builders import networks
from netwright.networks.choice import network
from netwright.networks.trial import try_on_example
from netwright.networks.weights import count_parameters, weights_sha256

__all__ = [
    "BinaryStep",
    "activations",
    "count_parameters",
    "network",
    "networks",
    "try_on_example",
    "weights_sha256",
]
