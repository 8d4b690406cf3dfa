"""Networks that other packages build, by name, with fresh weights: each package is imported where it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from netwright.errors import NetworkError

POOLINGS = ("mean", "first")


def package(name: str, *, why: str, extra: str | None = None) -> Any:
    """Returns an installed package; raises NetworkError that says how to install one that is not."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise NetworkError(f"{why} needs {name}, which cannot be imported: {error}") from error
        how = f"pip install 'netwright[{extra}]'" if extra else f"pip install {name.replace('_', '-')}"
        raise NetworkError(
            f"{why} needs the package {name.partition('.')[0]}, which is not installed: {how}"
        ) from None


def efficientnet_lite0(
    input_shape: Sequence[int], num_outputs: int, *, drop_connect: float = 0.2
) -> nn.Module:
    """Returns EfficientNet-Lite0: (N, 3, H, W) float to (N, num_outputs) float, logits (Tan & Le, arXiv:1905.11946; Lite 2020).

    4.7 million parameters, for images of 224 x 224, whose borders are padded for this size; smaller ones do. `drop_connect` is the
    share of examples for which the last block is left out in training. Of the package efficientnet-lite-pytorch. Raises NetworkError.
    """
    if len(input_shape) != 3 or input_shape[0] != 3:
        raise NetworkError(
            f"network 'efficientnet-lite0' expects colour images (3, height, width), but one example has the shape {tuple(input_shape)}."
        )
    library = package("efficientnet_lite_pytorch", why="efficientnet-lite0", extra="pretrained")
    built = library.EfficientNet.from_name(
        "efficientnet-lite0", num_classes=num_outputs, drop_connect_rate=drop_connect
    )
    assert isinstance(built, nn.Module)
    return built


class TextEncoder(nn.Module):
    """A transformer of Hugging Face over token ids (N, L) int64, 0 for padding, and a linear layer on one vector for each text.

    The vector is the mean over the text's tokens ("mean", as sentence-transformers has it; Reimers & Gurevych, arXiv:1908.10084) or
    that of its first one ("first"). `padding_id`: what the transformer calls padding; that id and 0 trade places.
    """

    def __init__(
        self, encoder: nn.Module, width: int, num_outputs: int, pooling: str, padding_id: int
    ) -> None:
        super().__init__()
        self.pooling, self.padding_id = pooling, padding_id
        self.encoder = encoder
        self.head = nn.Linear(width, num_outputs)

    def forward(self, ids: Tensor) -> Tensor:
        there = ids != 0
        if self.padding_id:
            ids = torch.where(ids == 0, self.padding_id, torch.where(ids == self.padding_id, 0, ids))
        vectors = self.encoder(input_ids=ids, attention_mask=there.long()).last_hidden_state
        if self.pooling == "first":
            return self.head(vectors[:, 0])
        share = there.unsqueeze(2).to(vectors.dtype)
        return self.head((vectors * share).sum(1) / share.sum(1).clamp(min=1))


def text_encoder(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    vocabulary: int | None = None,
    config: Mapping[str, Any],
    pooling: str = "mean",
    padding_id: int = 0,
) -> nn.Module:
    """Returns a `TextEncoder` around the transformer that `config` describes, as the config.json of Hugging Face does.

    Raises NetworkError for data that is no text, and for a description that transformers does not take.
    """
    if vocabulary is None:
        raise NetworkError("network 'transformers' expects texts, as token ids; this data is numbers.")
    if pooling not in POOLINGS:
        raise NetworkError(f"`pooling` is {' or '.join(POOLINGS)}; got {pooling!r}")
    library = package("transformers", why="network 'transformers'", extra="pretrained")
    entries = {key: value for key, value in config.items() if key != "model_type"}
    try:
        described = library.AutoConfig.for_model(config["model_type"], **entries)
        encoder = bare_encoder(library.AutoModel.from_config, described)
        width, known = int(described.hidden_size), int(described.vocab_size)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise NetworkError(f"`config` describes no text encoder of transformers: {error}") from None
    if vocabulary > known:
        raise NetworkError(f"the tokenizer has {vocabulary:,} tokens, the network knows {known:,}")
    return TextEncoder(encoder, width, num_outputs, pooling, padding_id)


def bare_encoder(build: Any, *arguments: Any, **options: Any) -> nn.Module:
    """Returns what a builder of transformers makes, without the layer behind it that pools, where it can be left out."""
    try:
        made = build(*arguments, add_pooling_layer=False, **options)
    except TypeError:
        made = build(*arguments, **options)
    assert isinstance(made, nn.Module)
    return made


def timm_network(input_shape: Sequence[int], num_outputs: int, *, architecture: str) -> nn.Module:
    """Returns a network of the package timm, by its name there, with fresh weights; raises NetworkError."""
    library = package("timm", why=f"timm:{architecture}")
    try:
        built = library.create_model(
            architecture, pretrained=False, num_classes=num_outputs, in_chans=int(input_shape[0])
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise NetworkError(f"timm has no network {architecture!r} for this: {error}") from None
    assert isinstance(built, nn.Module)
    return built


def torchvision_network(input_shape: Sequence[int], num_outputs: int, *, architecture: str) -> nn.Module:
    """Returns a network of torchvision.models, by its name there, with fresh weights; raises NetworkError."""
    library = package("torchvision.models", why=f"torchvision:{architecture}")
    try:
        built = library.get_model(architecture, weights=None, num_classes=num_outputs)
    except (ValueError, TypeError, KeyError) as error:
        raise NetworkError(f"torchvision has no network {architecture!r}: {error}") from None
    assert isinstance(built, nn.Module)
    return built
