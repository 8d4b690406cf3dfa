from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from netwright.architectures import network
from netwright.data import Preparation
from netwright.data.columns import Column
from netwright.data.fitted_images import FittedImages
from netwright.data.preparation import FeaturePreparation, ImagePreparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.table import TablePreparation
from netwright.data.target import Target
from netwright.data.text import TextPreparation
from netwright.data.tokens import Characters
from netwright.shipping import Answering, Card, Shipped


@dataclass(frozen=True)
class Ready:
    """A network with fresh weights, ready to be exported, and 7 raw examples."""

    shipped: Shipped
    card: Card
    raw: Tensor

    @property
    def answering(self) -> Answering:
        def forward(raw: Tensor) -> tuple[Tensor, ...]:
            with torch.no_grad():
                return self.shipped(raw)

        return Answering(self.card, self.shipped.preparation, forward)


def ready(
    name: str,
    preparation: Preparation,
    raw: Tensor,
    *,
    outputs: int = 3,
    numbers: bool = False,
    **options: Any,
) -> Ready:
    torch.manual_seed(0)
    shape = preparation.prepared_shape
    built = network(name, input_shape=shape, num_outputs=outputs, facts=preparation.facts, **options).eval()
    for module in built.modules():
        if isinstance(
            module, nn.BatchNorm1d | nn.BatchNorm2d
        ):  # fresh statistics would leave everything as it is
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return shipped_of(built, preparation, raw, outputs, numbers, {"network": {"name": name, **options}})


def shipped_of(
    built: nn.Module,
    preparation: Preparation,
    raw: Tensor,
    outputs: int,
    numbers: bool,
    recipe: dict[str, Any],
) -> Ready:
    from netwright.architectures import weights_sha256

    card = Card(
        title="test",
        name="test",
        task="regression" if numbers else "classification",
        classes=None if numbers else tuple("abcdefgh"[:outputs]),
        input_shape=preparation.prepared_shape,
        num_outputs=outputs,
        preparation=preparation.to_dict(),
        recipe=recipe,
        weights_sha256=weights_sha256(built.state_dict()),
        netwright="0",
    )
    shipped = Shipped(preparation, built, meaning=None if numbers else "logits", temperature=1.0)
    return Ready(shipped.eval(), card, raw)


def pixels(*shape: int) -> Tensor:
    return torch.randint(0, 256, (7, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def floats(*shape: int, double: bool = False) -> Tensor:
    found = torch.randn(7, *shape, generator=torch.Generator().manual_seed(1))
    return found.double() if double else found


def texts() -> tuple[TextPreparation, Tensor]:
    """Texts of different lengths, one as long as can be and one of a single token."""
    preparation = TextPreparation([4], tokenizer=Characters("abcdefgh").to_dict())
    raw = torch.randint(2, 10, (7, 4), generator=torch.Generator().manual_seed(1))
    for row, length in enumerate((4, 1, 3, 2, 4, 3, 1)):
        raw[row, length:] = 0
    return preparation, raw


def table(**options: Any) -> tuple[TablePreparation, Tensor]:
    """Two numbers, one with gaps, and a category with one that training did not have."""
    columns = [
        Column("age", "number").to_dict(),
        Column("fare", "number").to_dict(),
        Column("city", "category", categories=("x", "y", "z")).to_dict(),
    ]
    entries: dict[str, Any] = {
        "mean": [1.0, 2.0],
        "std": [2.0, 3.0],
        "fill": [0.5, -0.5],
        "flags": [1],
        "known": [[0, 2, 3]],
    }
    target = Target("price", "numbers", 1000.0, 250.0).to_dict() if options.pop("target", False) else None
    made = TablePreparation(
        [3], columns=columns, inputs=["age", "fare", "city"], target=target, **{**entries, **options}
    )
    raw = torch.tensor(
        [[0.5, 1, 2], [3, torch.nan, 0], [-9, 4, 1], [torch.nan, 1e6, 3], [2, 2, 4], [0, 0, 2], [1, -1e6, 3]]
    )
    return made, raw


def quantiles() -> list[list[float]]:
    rising = torch.linspace(-3, 4, 20).tolist()
    return [rising, [0.0] * 8 + [float(value) for value in range(1, 13)]]


def series(horizon: int | None = 4) -> SeriesPreparation:
    return SeriesPreparation(
        [8, 2],
        columns=["load", "heat"],
        targets=["load"] if horizon else [],
        horizon=horizon,
        label=None if horizon else "state",
        mean=[10.0, -5.0],
        std=[2.0, 0.5],
        pace={"unit": "rows", "size": 1.0},
    )


def text_ready(name: str, **options: Any) -> Callable[[], Ready]:
    def make() -> Ready:
        preparation, raw = texts()
        return ready(name, preparation, raw, outputs=2, **options)

    return make


def table_ready(name: str, options: dict[str, Any] | None = None, **asked: Any) -> Callable[[], Ready]:
    def make() -> Ready:
        preparation, raw = table(**asked)
        numbers = asked.get("target", False)
        return ready(name, preparation, raw, outputs=1 if numbers else 2, numbers=numbers, **(options or {}))

    return make


def series_ready(name: str, horizon: int | None = 4, **options: Any) -> Callable[[], Ready]:
    def make() -> Ready:
        raw = floats(8, 2, double=True) * torch.tensor([2.0, 0.5]) + torch.tensor([10.0, -5.0])
        outputs = 4 if horizon else 3
        return ready(name, series(horizon), raw, outputs=outputs, numbers=bool(horizon), **options)

    return make


IMAGE = {"scale": 255.0, "mean": [0.4], "std": [0.3]}
SMALL = {"width": 8, "hidden": 4}
# Every kind of network that `export` is asked for, small and untrained: what is proven is that the answers are the same. All of them go
# into ONNX, the FAMILIES into every format.
FAMILIES = ("mlp", "cnn", "lstm", "transformer", "table-mlp")
KINDS: dict[str, Callable[[], Ready]] = {
    "mlp": lambda: ready(
        "mlp", ImagePreparation((1, 8, 8), **IMAGE), pixels(1, 8, 8), hidden=[16], norm="batch"
    ),
    "features": lambda: ready("mlp", FeaturePreparation((5,), mean=[1.0], std=[2.0]), floats(5), hidden=[8]),
    "cnn": lambda: ready("cnn", ImagePreparation((3, 16, 16), **IMAGE), pixels(3, 16, 16), channels=[4, 8]),
    "resnet": lambda: ready(
        "resnet", ImagePreparation((1, 16, 16), **IMAGE), pixels(1, 16, 16), widths=[4, 8], blocks=1
    ),
    "vit": lambda: ready("vit", ImagePreparation((1, 8, 8), **IMAGE), pixels(1, 8, 8), width=16, blocks=1),
    "fitted-image": lambda: ready(
        "cnn", FittedImages((1, 9, 7), takes=(3, 12, 12), **IMAGE), pixels(1, 9, 7), channels=[4]
    ),
    "embedding-bag": text_ready("embedding-bag", width=8, pairs=20),
    "lstm": text_ready("lstm", **SMALL),
    "gru-of-two": text_ready("gru", layers=2, **SMALL),
    "text-cnn": text_ready("text-cnn", width=8, channels=4),
    "transformer": text_ready("transformer", width=8, heads=2, layers=1),
    "table-mlp": table_ready("mlp", {"hidden": [8]}),
    "table-pieces": table_ready("mlp", {"hidden": [8]}, pieces=[[-1.0, 0.0, 2.0], [0.0, 1.0]], target=True),
    "table-resnet": table_ready("table-resnet", {"width": 8, "blocks": 1}, encoding="embedding"),
    "table-transformer": table_ready(
        "table-transformer",
        {"width": 8, "blocks": 1, "heads": 2},
        encoding="embedding",
        quantiles=quantiles(),
    ),
    "sound": lambda: ready(
        "cnn",
        SoundPreparation((2000,), rate=8000, mels=16, window=200, hop=80, mean=[-3.0], std=[2.0]),
        floats(2000) * 0.1,
        channels=[4],
    ),
    "dlinear": series_ready("dlinear", kernel=5),
    "tcn": series_ready("tcn", channels=4, blocks=2),
    "series-lstm": series_ready("lstm", hidden=8),
    "series-transformer": series_ready(
        "series-transformer", patch=4, stride=2, width=8, heads=2, layers=1, hidden=8
    ),
    "windows-lstm": series_ready("lstm", horizon=None, hidden=8),
}


@pytest.fixture(scope="session")
def make() -> Callable[[str], Ready]:
    """Makes a network of one of KINDS: `make("lstm")`."""
    return lambda kind: KINDS[kind]()


@pytest.fixture
def shipped_as() -> Callable[..., Ready]:
    """Makes a network of a module of one's own."""
    return shipped_of


def pytest_generate_tests(metafunc: Any) -> None:
    for name, known in (("kind", KINDS), ("family", FAMILIES)):
        if {"make", name} <= set(metafunc.fixturenames):
            metafunc.parametrize(name, list(known))
