"""From a name or an nn.Module to a module that fits the data."""

from netwright.architectures.activations import BinaryStep, activations
from netwright.architectures.borrowed import (
    efficientnet_lite0,
    text_encoder,
    timm_network,
    torchvision_network,
)
from netwright.architectures.builders import networks
from netwright.architectures.choice import network
from netwright.architectures.cifar_resnet import cifar_resnet20
from netwright.architectures.published import Pretrained, find_pretrained, is_pretrained, pretrained
from netwright.architectures.sound import sound_rnn
from netwright.architectures.trial import try_on_example
from netwright.architectures.weights import count_parameters, weights_sha256

networks["sound-rnn"] = sound_rnn
networks["cifar-resnet20"] = cifar_resnet20
networks["efficientnet-lite0"] = efficientnet_lite0
networks["transformers"] = text_encoder
networks["timm"] = timm_network
networks["torchvision"] = torchvision_network

__all__ = [
    "BinaryStep",
    "Pretrained",
    "activations",
    "count_parameters",
    "find_pretrained",
    "is_pretrained",
    "network",
    "networks",
    "pretrained",
    "try_on_example",
    "weights_sha256",
]
