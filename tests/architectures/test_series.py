"""Networks for series, against PyTorch's own layers called by hand, and against what must not be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from netwright.architectures import network
from netwright.architectures.plain_forecasts import LastValue, SeasonalNaive, fit_least_squares
from netwright.architectures.series import (
    DecomposedLinear,
    Levelled,
    PatchTransformer,
    TemporalConvolution,
    _blocks,
)
from netwright.errors import NetworkError, UnknownNameError

FORECAST = {"forecast": (6, (0, 2))}
NAMES = ("dlinear", "tcn", "series-transformer", "lstm", "gru")


def build(name: str, *, facts=FORECAST, window: int = 40, **options) -> nn.Module:
    torch.manual_seed(0)
    return network(name, input_shape=(window, 3), num_outputs=12 if facts else 4, facts=facts, **options)


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_has_rows_and_columns(name):
    net = build(name).eval()
    x = torch.randn(5, 40, 3)
    assert net(x).shape == (5, 6, 2) and torch.isfinite(net(torch.zeros(2, 40, 3))).all()
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]))
    net(x).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_class_has_one_logit(name):
    assert build(name, facts={})(torch.randn(5, 40, 3)).shape == (5, 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", ["last", "mean"])
def test_what_is_levelled_rises_with_its_input(name, level):
    net = build(name, level=level).eval()
    x = torch.randn(2, 40, 3)
    torch.testing.assert_close(net(x + 7), net(x) + 7, atol=1e-3, rtol=1e-4)
    if level == "mean":
        torch.testing.assert_close(net(3 * x), 3 * net(x), atol=1e-2, rtol=1e-2)


def test_dlinear_is_two_linear_layers_on_a_moving_average_and_the_rest():
    net = DecomposedLinear(40, 6, (0, 2), kernel=5)
    x = torch.randn(4, 40, 3)
    rows = x[:, :, [0, 2]].numpy()
    padded = np.concatenate([rows[:, :1].repeat(2, 1), rows, rows[:, -1:].repeat(2, 1)], 1)
    trend = np.stack([padded[:, n : n + 5].mean(1) for n in range(40)], 1)

    def through(layer, values):
        return (
            np.einsum("nwc,hw->nhc", values, layer.weight.detach().numpy())
            + layer.bias.detach().numpy()[:, None]
        )

    expected = through(net.season[0], rows - trend) + through(net.trend[0], trend)
    np.testing.assert_allclose(net(x).detach().numpy(), expected, atol=1e-5)
    even = DecomposedLinear(40, 6, (0,), kernel=4)
    assert even(x).shape == (4, 6, 1)


def test_each_column_may_have_layers_of_its_own():
    net = build("dlinear", apart=True)
    x = torch.randn(4, 40, 3)
    before = net(x)
    with torch.no_grad():
        net.season[1].weight.add_(1)
    after = net(x)
    assert torch.equal(before[:, :, 0], after[:, :, 0]) and not torch.equal(before[:, :, 1], after[:, :, 1])


def test_causal_blocks_see_no_row_behind_their_own():
    net = TemporalConvolution(3, (6, 2), 8, 3, _blocks(40, 3), 0.0).eval()
    x = torch.randn(1, 3, 40)
    before = net.blocks(x)
    for place in (0, 13, 39):
        changed = x.clone()
        changed[:, :, place] += 1
        different = (net.blocks(changed) - before).abs().amax((0, 1)) > 0
        assert not different[:place].any() and different[place]
    first = x.clone()
    first[:, :, 0] += 10
    assert not torch.equal(net.blocks(first)[:, :, -1], before[:, :, -1]), (
        "the last row sees the whole window"
    )


@pytest.mark.parametrize(
    ("window", "kernel", "blocks"), [(5, 3, 1), (6, 3, 2), (13, 3, 2), (14, 3, 3), (96, 3, 5), (9, 1, 1)]
)
def test_as_many_blocks_as_the_window_needs(window, kernel, blocks):
    assert _blocks(window, kernel) == blocks
    seen = 1 + sum(2 * (kernel - 1) * 2**n for n in range(blocks))
    assert seen >= window or kernel == 1


@pytest.mark.parametrize(("cell", "layer"), [("gru", nn.GRU), ("lstm", nn.LSTM)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_recurrence_is_the_last_state_of_torch_s_own(cell, layer, bidirectional):
    net = build(cell, hidden=5, layers=2, bidirectional=bidirectional, level="none").eval()
    own = layer(3, 5, 2, batch_first=True, bidirectional=bidirectional)
    own.load_state_dict(net.recurrence.state_dict())
    x = torch.randn(4, 40, 3)
    outputs = own(x)[0]
    last = outputs[:, -1] if not bidirectional else torch.cat([outputs[:, -1, :5], outputs[:, 0, 5:]], 1)
    torch.testing.assert_close(net(x), net.head(last).view(4, 6, 2))


def test_a_column_read_by_itself_knows_nothing_of_the_others():
    x = torch.randn(2, 40, 3)
    other = x.clone()
    other[:, :, 1:] = 5
    for name in ("dlinear", "series-transformer"):
        net = build(name).eval()
        torch.testing.assert_close(net(x)[:, :, 0], net(other)[:, :, 0])
    together = build("series-transformer", apart=False).eval()
    assert not torch.allclose(together(x)[:, :, 0], together(other)[:, :, 0])


@pytest.mark.parametrize(
    ("window", "patch", "stride", "tokens"),
    [(40, 16, 8, 5), (41, 16, 8, 5), (16, 16, 8, 2), (336, 16, 8, 42)],
)
def test_patches_cover_the_window(window, patch, stride, tokens):
    net = PatchTransformer(window, 1, (6, 1), (0,), patch, stride, 8, 2, 1, 16, 0.0).eval()
    assert net.positions.shape == (tokens, 8)
    x = torch.randn(1, window, 1, requires_grad=True)
    net(x).sum().backward()
    assert (x.grad != 0).all()
    assert build("series-transformer", window=7)(torch.randn(2, 7, 3)).shape == (2, 6, 2)


def test_levels_are_those_of_the_window():
    class Zero(nn.Module):
        def forward(self, x):
            self.seen = x
            return torch.zeros(len(x), 6, 2)

    x = torch.randn(4, 40, 3) * 3 + 5
    last = Levelled(Zero(), "last", (0, 2))
    torch.testing.assert_close(last(x), x[:, -1:, [0, 2]].expand(-1, 6, -1))
    mean = Levelled(Zero(), "mean", (0, 2))
    torch.testing.assert_close(mean(x), x.mean(1, keepdim=True)[:, :, [0, 2]].expand(-1, 6, -1))
    torch.testing.assert_close(mean.network.seen.std(1, correction=0), torch.ones(4, 3), atol=1e-4, rtol=0)


# Plain forecasts


def test_plain_forecasts_repeat_what_was():
    x = torch.arange(20.0).view(1, 20, 1).repeat(2, 1, 3)
    assert LastValue(4, (1,))(x)[0, :, 0].tolist() == [19, 19, 19, 19]
    assert SeasonalNaive(7, (0, 2), 5)(x)[1, :, 1].tolist() == [15, 16, 17, 18, 19, 15, 16]


def test_the_linear_forecast_is_scikit_learn_s_ridge():
    torch.manual_seed(1)
    x, y = torch.randn(80, 12, 3), torch.randn(80, 4, 2)
    net = fit_least_squares([(x[:50], y[:50]), (x[50:], y[50:])], (0, 2), ridge=0.1)
    last = x[:, -1:, [0, 2]]
    past = (x[:, :, [0, 2]] - last).transpose(1, 2).reshape(160, 12).double().numpy()
    ahead = (y - last).transpose(1, 2).reshape(160, 4).double().numpy()
    centred = past - past.mean(0)
    model = Ridge(alpha=0.1 * (centred**2).sum(0).mean(), solver="cholesky").fit(past, ahead)
    expected = model.predict(past).reshape(80, 2, 4).transpose(0, 2, 1) + last.numpy()
    np.testing.assert_allclose(net(x).numpy(), expected, atol=1e-4)
    assert net(torch.zeros(3, 12, 3)).isfinite().all()


def test_a_constant_past_has_a_linear_forecast_too():
    net = fit_least_squares([(torch.ones(5, 12, 1), torch.ones(5, 4, 1))], (0,))
    torch.testing.assert_close(net(torch.full((1, 12, 1), 3.0)), torch.full((1, 4, 1), 3.0))


# What cannot be


@pytest.mark.parametrize(
    ("name", "options", "error", "said"),
    [
        ("dlinear", {"facts": {}}, NetworkError, "'dlinear' forecasts"),
        ("dlinear", {"level": "first"}, NetworkError, "`level` expects none, last or mean; got 'first'"),
        ("dlinear", {"kernel": 0}, NetworkError, "`kernel` expects a whole number"),
        ("dlinear", {"forecast": 3}, UnknownNameError, "unknown dlinear option 'forecast'"),
        ("tcn", {"facts": {}, "level": "mean"}, NetworkError, "`level` goes with forecasts"),
        ("tcn", {"channels": 0}, NetworkError, "`channels` expects"),
        ("tcn", {"dropout": 1}, NetworkError, "`dropout` expects a share"),
        ("series-transformer", {"width": 10, "heads": 4}, NetworkError, "`width` is a multiple of `heads`"),
        ("series-transformer", {"facts": {}, "apart": True}, NetworkError, "`apart` goes with forecasts"),
        ("lstm", {"hidden": 0}, NetworkError, "`hidden` expects"),
        ("cnn", {}, NetworkError, "expects images"),
        ("embedding-bag", {}, NetworkError, "texts"),
    ],
)
def test_what_cannot_be(name, options, error, said):
    with pytest.raises(error) as raised:
        build(name, **options)
    assert said in str(raised.value)


def test_windows_are_wanted():
    with pytest.raises(NetworkError, match=r"'tcn' expects windows \(rows, columns\)"):
        network("tcn", input_shape=(1, 8, 8), num_outputs=3)
