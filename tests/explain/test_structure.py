"""Counts beside closed forms and torchinfo's, and the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from netwright.explain.structure import Layer, folded_layers, parameters_of, structure_of
from netwright.explain.trace import trace

Made = Callable[[str], tuple[nn.Module, Any]]


def layers(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children:
        yield from layers(child)


def test_parameters_are_those_of_the_module(made: Made, kind: str) -> None:
    network, batch = made(kind)
    found = structure_of(trace(network, batch))
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert found.parameter_bytes == 4 * found.parameters
    assert found.buffers == sum(buffer.numel() for buffer in network.buffers())


@pytest.mark.parametrize(
    ("layer", "batch", "products"),
    [
        (nn.Linear(10, 5), torch.zeros(3, 10), 3 * 50),
        (nn.Linear(10, 5, bias=False), torch.zeros(3, 7, 10), 21 * 50),
        (nn.Conv2d(3, 8, 3, padding=1), torch.zeros(2, 3, 16, 16), 2 * 256 * 8 * 27),
        (nn.Conv2d(4, 8, 3, groups=2, stride=2), torch.zeros(1, 4, 9, 9), 16 * 8 * 18),
        (nn.Conv1d(4, 8, 5), torch.zeros(1, 4, 20), 16 * 8 * 20),
        (nn.ConvTranspose2d(4, 8, 2, 2), torch.zeros(1, 4, 8, 8), 64 * 4 * 8 * 4),
        (nn.LSTM(4, 8), torch.zeros(6, 2, 4), 12 * 32 * (4 + 8)),
        (nn.LSTM(4, 8, 2, bidirectional=True, batch_first=True), torch.zeros(2, 6, 4), 12 * 2 * 32 * ((4 + 8) + (16 + 8))),
        (nn.GRU(4, 8, batch_first=True), torch.zeros(2, 6, 4), 12 * 24 * 12),
        (nn.RNN(4, 8, batch_first=True), torch.zeros(2, 6, 4), 12 * 8 * 12),
        (nn.Embedding(9, 4), torch.zeros(2, 6, dtype=torch.long), 0),
        (nn.ReLU(), torch.zeros(2, 6), 0),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, nn.Module) else "",
)  # fmt: skip
def test_products_of_a_layer(layer: nn.Module, batch: torch.Tensor, products: int) -> None:
    assert structure_of(trace(layer, batch)).products == products
    assert structure_of(trace(layer.requires_grad_(False), batch)).products == products


def test_products_of_attention() -> None:
    # Four projections of (L, E) by (E, E), and for each head the scores (L, L) and their mean of the values.
    length, width = 12, 16
    attention = nn.MultiheadAttention(width, 4, batch_first=True)
    x = torch.zeros(1, length, width)
    expected = 4 * length * width**2 + 2 * length**2 * width
    assert structure_of(trace(attention, (x, x, x))).products == expected


def test_products_of_a_resnet_are_torchinfos(made: Made) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    network, batch = made("resnet")
    found = structure_of(trace(network, batch))
    theirs = torchinfo.summary(network.eval(), input_data=batch, verbose=0)
    assert found.parameters == theirs.total_params == 11_689_512
    # torchinfo counts the scales of batch norm and the biases too, once for each example.
    extra = sum(part.weight.numel() for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    assert theirs.total_mult_adds - found.products <= 2 * extra + 1000
    assert theirs.total_mult_adds >= found.products


def test_a_layer_that_is_used_three_times_has_three_rows_and_is_counted_once(made: Made) -> None:
    found = structure_of(trace(*made("two")))
    acts = [layer for layer in layers(found.root) if layer.name == "act"]
    assert [(layer.call, layer.calls) for layer in acts] == [(1, 3), (2, 3), (3, 3)]
    never = [layer for layer in layers(found.root) if layer.call == 0]
    assert [layer.name for layer in never] == ["never"] and never[0].parameters == 12


def test_tied_weights_are_counted_once_and_named(made: Made) -> None:
    watched = trace(*made("tied"))
    found = structure_of(watched)
    assert found.parameters == 40
    by_name = {layer.name: layer for layer in layers(found.root)}
    assert by_name["out"].shared == ("embedding.weight",) and by_name["embedding"].shared == ("out.weight",)
    (only,) = parameters_of(watched)
    assert only.name == "embedding.weight" and only.shared == ("out.weight",)


def test_parameters_that_no_layer_holds_are_rows(made: Made) -> None:
    found = structure_of(trace(*made("transformer")))
    row = found.root.children[0]
    assert (row.name, row.kind, row.parameters) == ("position", "Parameter", 12 * 16)
    assert found.root.own == 12 * 16


def test_shapes_of_layers_with_several_outputs(made: Made) -> None:
    found = structure_of(trace(*made("lstm")))
    lstm = next(layer for layer in layers(found.root) if layer.kind == "LSTM")
    assert [spec.shape for spec in lstm.outputs] == [(1, 12, 64), (4, 1, 32), (4, 1, 32)]
    assert lstm.inputs[0].shape == (1, 12, 16)


def test_equal_blocks_are_folded(made: Made) -> None:
    found = structure_of(trace(*made("transformer")))
    encoder = next(layer for layer in layers(found.root) if layer.kind == "TransformerEncoder")
    assert [(len(unit), times) for unit, times in folded_layers(encoder.children)] == [(1, 6)]


def test_frozen_parameters_are_not_counted_as_trained() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    network[0].requires_grad_(False)
    found = structure_of(trace(network, torch.zeros(1, 4)))
    assert (found.parameters, found.trainable) == (30, 10)
