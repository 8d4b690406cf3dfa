"""The guard against SciPy's distances and NumPy's quantiles, in files, threads, torch.export and onnxruntime."""

from __future__ import annotations

import math
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor, nn

from netwright.data import FeaturePreparation, ImagePreparation
from netwright.errors import DataError
from netwright.shipping import Guard, Shipped
from netwright.shipping.guard import (
    FeatureView,
    InputView,
    StatisticsView,
    View,
    folded,
    last_layer,
    quantile,
    settle,
    signs_for,
    statistics_of,
    views_for,
)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_distances_are_scipy_s_from_the_nearest_centre():
    classes = torch.arange(300) % 3
    vectors = (numbers(300, 4) @ numbers(4, 4, seed=1) + numbers(3, 4, seed=2)[classes] * 5 + 50).float()
    view = InputView(wide=4, centres=3)
    view.fit(vectors, classes)
    centres = np.stack([vectors[classes == one].mean(0) for one in range(3)])
    within = vectors.numpy() - centres[classes]
    inverse = np.linalg.inv(within.T @ within / len(within))
    asked = (numbers(20, 4, seed=3) * 9 + 50).float()
    expected = [min(mahalanobis(row, centre, inverse) for centre in centres) for row in asked.numpy()]
    assert view.distances(asked).numpy() == pytest.approx(np.array(expected), rel=1e-3)


def test_a_direction_without_spread_does_not_divide_by_zero():
    vectors = torch.cat([numbers(100, 2), torch.full((100, 1), 3.0)], dim=1)
    view = InputView(wide=3)
    view.fit(vectors, None)
    inside, outside = view.distances(torch.tensor([[0.0, 0.0, 3.0], [0.0, 0.0, 4.0]]))
    assert inside < 1 and outside > 5 and bool(view.whiten.isfinite().all())


def test_folding_is_a_product_with_a_matrix_of_signs():
    wide, length = 11, 4
    signs = signs_for(wide)
    matrix = torch.zeros(wide, length)
    matrix[torch.arange(wide), torch.arange(wide) % length] = signs
    vectors = numbers(6, wide)
    assert torch.allclose(folded(vectors, signs, length), vectors @ matrix)
    assert set(signs.tolist()) == {-1.0, 1.0} and torch.equal(signs, signs_for(wide))


def test_statistics_of_pictures():
    picture = numbers(2, 3, 5, 6)
    found = statistics_of(picture).numpy()
    values = picture.numpy()
    expected = [
        values.mean((2, 3)),
        np.log(values.std((2, 3)) + 1e-3),
        np.log(np.abs(np.diff(values, axis=2)).mean((2, 3)) + 1e-3),
        np.log(np.abs(np.diff(values, axis=3)).mean((2, 3)) + 1e-3),
    ]
    assert found == pytest.approx(np.concatenate(expected, axis=1), abs=1e-5)
    blank = statistics_of(torch.zeros(1, 1, 4, 4))[0].tolist()
    assert blank == pytest.approx([0.0, *[math.log(1e-3)] * 3], abs=1e-4)
    assert statistics_of(numbers(2, 9, 3)).shape == (2, 9)  # windows: rows by columns have one axis of steps


@pytest.mark.parametrize(("count", "share"), [(20, 0.01), (99, 0.01), (500, 0.05), (2000, 0.1)])
def test_as_many_are_above_the_quantile_as_are_to_be(count, share):
    values = numbers(count)
    limit = quantile(values, share)
    assert float((values > limit).float().mean()) <= share
    fresh = np.mean([(numbers(2000, seed=s) > quantile(numbers(count, seed=s + 100), share)).float().mean()
                     for s in range(40)])  # fmt: skip
    assert float(fresh) <= max(share, 1 / (count + 1)) * 1.25


def fitted(views: list[View], x: Tensor, features: Tensor) -> Guard:
    guard = Guard(views, layer=None, share=0.05)
    vectors = [view.vectors(x, x, features) for view in views]
    for view, some in zip(views, vectors, strict=True):
        view.fit(some, None)
    settle(guard, *[[view.distances(some) for view, some in zip(views, vectors, strict=True)]] * 2)
    return guard


def test_the_share_that_was_asked_for_lies_above_1_and_the_furthest_view_decides():
    x = numbers(400, 3)
    guard = fitted([InputView(wide=3), FeatureView(wide=2, channels_last=True)], x, x[:, :2] * 2)
    scores = guard(x, x, x[:, :2] * 2)
    assert 0.03 <= float((scores > 1).float().mean()) <= 0.05
    each = torch.stack([view(x, x, x[:, :2] * 2) for view in guard.views], dim=1)
    assert torch.equal(scores, each.amax(1))
    odd = torch.zeros(1, 2) + 50  # ordinary as input, strange as features
    assert float(guard(x[:1], x[:1], odd)) > 10


def test_what_is_no_number_is_strange():
    x = numbers(100, 3)
    guard = fitted([InputView(wide=3)], x, x)
    for value in (math.nan, math.inf, -math.inf, 1e30):
        assert float(guard(*[torch.full((1, 3), value)] * 3)) > 1


def test_a_guard_is_read_back_to_the_same_scores(tmp_path: Path):
    x = numbers(200, 1, 20, 20).abs()
    views = [
        FeatureView(wide=400, channels_last=False),
        InputView(wide=100, factor=2),
        StatisticsView(wide=4),
    ]
    guard = fitted(views, x, x.flatten(1))
    (tmp_path / "guard").write_bytes(guard.saved())
    again = Guard.read(tmp_path / "guard")
    assert torch.equal(again(x, x, x.flatten(1)), guard(x, x, x.flatten(1)))
    assert (again.layer, again.share) == (guard.layer, guard.share)


@pytest.mark.parametrize("damage", ["cut", "no guard", "version", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str):
    from safetensors.torch import save

    x = numbers(60, 3)
    good = fitted([InputView(wide=3)], x, x).saved()
    path = tmp_path / "guard.safetensors"
    if damage != "missing":
        files = {
            "cut": good[:-20],
            "no guard": save({"x": x}),
            "version": good.replace(b'\\"version\\": 1', b'\\"version\\": 9'),
        }
        path.write_bytes(files[damage])
    with pytest.raises(DataError, match="guard"):
        Guard.read(path)


class TwiceCalled(nn.Sequential):
    """Like `netwright.architectures.builders.MirrorAverage`."""

    def forward(self, x: Tensor) -> Tensor:
        return (super().forward(x) + super().forward(x.flip(-1))) / 2


def test_the_layer_that_feeds_the_output():
    x = numbers(2, 1, 8, 8)
    body = (nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5), nn.Softmax(1))
    assert last_layer(nn.Sequential(*body), x) == "3"
    assert last_layer(TwiceCalled(*body), x) == "3"
    assert last_layer(nn.Sequential(nn.Flatten(), nn.ReLU()), x) is None
    assert last_layer(nn.Linear(8, 3), x) is None  # its input is the network's, a view already
    network = nn.Sequential(*body)
    last_layer(network, x)
    assert not any(module._forward_pre_hooks for module in network.modules())


def shipped(network: nn.Module, preparation: object, raw: Tensor, classes: Tensor) -> Shipped:
    """A network with a guard fitted to `raw`."""
    network.eval()
    with torch.no_grad():
        x = preparation(raw)
        layer = last_layer(network, x[:2])
        seen: list[Tensor] = []
        hook = network.get_submodule(layer).register_forward_pre_hook(lambda m, args: seen.append(args[0]))
        network(x)
        hook.remove()
        views = views_for(
            preparation, x, seen[0], layer=network.get_submodule(layer), classes=int(classes.max()) + 1
        )
        guard = Guard(views, layer=layer, share=0.01)
        vectors = [view.vectors(raw, x, seen[0]) for view in views]
        for view, some in zip(views, vectors, strict=True):
            view.fit(some, classes if len(view.centres) > 1 else None)
        settle(guard, *[[view.distances(some) for view, some in zip(views, vectors, strict=True)]] * 2)
    return Shipped(preparation, network, meaning="logits", temperature=0.7, guard=guard).eval()


def pictures() -> tuple[Shipped, Tensor]:
    torch.manual_seed(0)
    body = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 400, 4))
    raw = torch.randint(0, 256, (300, 1, 20, 20), generator=torch.Generator().manual_seed(1)).byte()
    preparation = ImagePreparation((1, 20, 20), scale=255.0, mean=[0.5], std=[0.3])
    return shipped(TwiceCalled(*body), preparation, raw, torch.arange(300) % 4), raw


def rows() -> tuple[Shipped, Tensor]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))
    raw = numbers(300, 6)
    return shipped(network, FeaturePreparation((6,)), raw, torch.arange(300) % 3), raw


@pytest.mark.parametrize("made", [pictures, rows])
def test_strangeness_is_a_second_output_and_the_first_stays(made):
    whole, raw = made()
    assert whole.output_names == ("probabilities", "strangeness")
    with torch.no_grad():
        answers, strangeness = whole(raw)
        alone = Shipped(whole.preparation, whole.network, meaning="logits", temperature=0.7)(raw)
    assert len(alone) == 1 and torch.equal(alone[0], answers)
    assert strangeness.shape == (300,) and float((strangeness > 1).float().mean()) <= 0.01
    with torch.no_grad():
        assert float(whole(torch.full_like(raw[:1], 200))[1]) > 1


def test_each_thread_sees_its_own_examples():
    whole, raw = rows()
    with torch.no_grad():
        expected = whole(raw)[1]
    wrong: list[int] = []

    def ask(start: int) -> None:
        with torch.no_grad():
            for _ in range(200):
                if not torch.allclose(
                    whole(raw[start : start + 7])[1], expected[start : start + 7], rtol=1e-4
                ):
                    wrong.append(start)

    threads = [threading.Thread(target=ask, args=(start,)) for start in (0, 50, 100, 150)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and not whole.tap.seen


@pytest.mark.parametrize("made", [pictures, rows])
def test_torch_export_and_onnxruntime_give_the_same(made, tmp_path: Path):
    import onnxruntime

    whole, raw = made()
    with torch.no_grad():
        expected = whole(raw[:9])
    names = {"dynamic_shapes": ({0: torch.export.Dim("n", min=1, max=4096)},)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporters themselves
        program = torch.export.export(whole, (raw[:3],), **names)
        exported = torch.onnx.export(whole, (raw[:3],), dynamo=True, opset_version=18, verbose=False, **names)
    for one, other in zip(program.module()(raw[:9]), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-4)
    exported.save(str(tmp_path / "net.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    given = session.run(None, {session.get_inputs()[0].name: raw[:9].numpy()})
    for one, other in zip(given, expected, strict=True):
        assert one == pytest.approx(other.numpy(), abs=1e-5, rel=1e-3)
    domains = {entry.domain for entry in exported.model_proto.opset_import if entry.domain}
    assert not domains - {"pkg.onnxscript.torch_lib.common", "pkg.onnxscript.torch_lib"}
