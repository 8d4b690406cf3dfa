"""Weights as safetensors, with the network's class as plain PyTorch in a file beside them; the preparation is in the card.

Opened by netwright the network is built by its recipe. Only where its class is a person's own is a file executed: the copy of it
beside the weights, whose checksum is in the sidecar.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from netwright.architectures import network
from netwright.architectures.heads import replace_head
from netwright.architectures.weights import weights_sha256
from netwright.errors import ArtefactError, NetwrightError
from netwright.metrics.probabilities import Meaning
from netwright.shipping.card import Card
from netwright.shipping.formats import Forward, Work
from netwright.shipping.guard import Guard
from netwright.shipping.shipped import Shipped

KEY = "netwright"


def write(work: Work, path: Path) -> list[str]:
    """Writes the weights, and beside them `<name>.py`: the plain class, or the file that the network came from."""
    from safetensors.torch import save

    notes = []
    if work.shipped.guard is not None:
        guard_file(path).write_bytes(work.shipped.guard.saved())
        notes.append(f"{guard_file(path).name} is the guard, which netwright applies")
    beside = plain_file(path)
    if work.file is not None:
        beside.write_bytes(work.file.read_bytes())
        notes.append(f"{beside.name} is the file that defines the network: opening the artefact executes it")
    elif work.source is not None:
        beside.write_text(work.source, encoding="utf-8")
        notes.append(f"{beside.name} has the network as plain PyTorch, which needs no netwright")
    else:
        notes.append("the network has no source that can be printed: netwright builds it by its recipe")
    extra = {
        "card": work.card.to_dict(),
        "meaning": work.shipped.meaning,
        "temperature": work.shipped.temperature,
    }
    tensors = {
        name: tensor.contiguous().clone() for name, tensor in work.shipped.network.state_dict().items()
    }
    path.write_bytes(save(tensors, metadata={KEY: json.dumps(extra, ensure_ascii=False)}))
    notes.append(
        "the preparation lies in the card as data: netwright applies it, other programs follow its numbers"
    )
    if work.shipped.meaning is not None:
        notes.append(
            f"the network's outputs are {work.shipped.meaning}, calibrated by the temperature {work.shipped.temperature:.4g} "
            "(both in the file's metadata)"
        )
    return notes


def guard_file(path: Path) -> Path:
    """Returns where the guard lies."""
    return path.with_suffix(".guard.safetensors")


def plain_file(path: Path) -> Path:
    """Returns where the network's class lies."""
    return path.with_suffix(".py")


def open(content: bytes, path: Path, sidecar: Mapping[str, Any]) -> tuple[Forward, dict[str, Any] | None]:
    """Returns what runs the network with these weights, and the card in the file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        weights = load(content)
        size = int.from_bytes(content[:8], "little")
        extra = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][KEY])
        card, meaning = Card.from_dict(extra["card"]), extra["meaning"]
        temperature = float(extra["temperature"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path}: no weights with netwright's card ({error})") from None
    if meaning not in (None, *get_args(Meaning)) or not 0 < temperature < math.inf:
        raise ArtefactError(
            f"{path}: expected outputs with a meaning and a temperature above 0, came {meaning!r} and {temperature}"
        )
    if weights_sha256(weights) != card.weights_sha256:
        raise ArtefactError(f"{path}: the weights are not those of the card")
    module = _rebuilt(card, path)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ArtefactError(
            f"{path}: the weights are another network's: {' '.join(str(error).split())[:200]}"
        ) from None
    guard = None if card.strange_above is None else Guard.read(guard_file(path))
    shipped = Shipped(card.prepared_by, module, meaning=meaning, temperature=temperature, guard=guard)
    return _running(shipped.eval()), extra["card"]


def _running(shipped: Shipped) -> Forward:

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return shipped(raw)

    return forward


def _rebuilt(card: Card, path: Path) -> nn.Module:
    """Returns the network as the recipe in the card builds it, with fresh weights."""
    asked = dict(card.recipe.get("network") or {})
    name = str(asked.pop("name", ""))
    if ".py:" in name:
        name = f"{plain_file(path)}:{name.rpartition(':')[2]}"
    try:
        with torch.random.fork_rng(devices=[]):
            made = network(
                name,
                input_shape=card.input_shape,
                num_outputs=card.num_outputs,
                facts=card.prepared_by.facts,
                **asked,
            )
            transfer = card.recipe.get("transfer") or {}
            if transfer.get("source") is not None and not transfer.get("keep_head") and transfer.get("head"):
                replace_head(made, transfer["head"], card.num_outputs)
    except (NetwrightError, TypeError, ValueError, AttributeError) as error:
        raise ArtefactError(f"{path}: its network cannot be built again: {error}") from None
    return made
