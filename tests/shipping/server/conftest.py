"""Small networks of every kind of data behind the server: in this process, or listening at a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import nn

from netwright.data.preparation import FeaturePreparation, ImagePreparation, Preparation
from netwright.data.series import SeriesPreparation
from netwright.data.sound import SoundPreparation
from netwright.data.text import TextPreparation
from netwright.data.tokens import Characters
from netwright.shipping import Answering, Card, Shipped
from netwright.shipping.server.app import Application
from netwright.shipping.server.limits import Limits
from netwright.shipping.server.listening import bound_socket, server_of

# Nothing waits for the other requests of a batch longer than this.
QUICK = Limits(wait_seconds=0.02)


class MeanOfTokens(nn.Module):
    """Classes of a text by the mean of its tokens' vectors."""

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.vectors, self.head = nn.Embedding(vocabulary, 8), nn.Linear(8, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        known = (tokens > 0).unsqueeze(2)
        return self.head((self.vectors(tokens) * known).sum(1) / known.sum(1))


class Forecast(nn.Module):
    """The last row again, so many times."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, past: torch.Tensor) -> torch.Tensor:
        return past[:, -1:, :].repeat(1, self.rows, 1)


def answering_of(
    preparation: Preparation,
    network: nn.Module,
    classes: tuple[str, ...] | None,
    *,
    name: str = "small",
    meaning: Any = "logits",
    **card: Any,
) -> Answering:
    shipped = Shipped(preparation, network.eval(), meaning=None if classes is None else meaning)

    def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return shipped(raw)

    meant = Card(
        title=f"{name} · net",
        name=name,
        task="regression" if classes is None else "classification",
        classes=classes,
        input_shape=preparation.prepared_shape,
        num_outputs=len(classes or [1]),
        preparation=preparation.to_dict(),
        test={"accuracy": 0.9, "interval": [0.88, 0.92], "loss": 0.3, "confusion": [[1]]},
        recipe={"data": {"source": "/home/someone/secret"}},
        netwright="0.1.0",
        **card,
    )
    return Answering(meant, preparation, forward)


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Answering:
    """A row of three numbers (one with gaps), a category and a date; two classes."""
    import netwright as nw

    file = tmp_path_factory.mktemp("table") / "people.csv"
    lines = ["age,fare,trips,port,day,left"]
    for row in range(120):
        gap = "" if row % 7 == 0 else f"{row % 13}.5"
        port = ("north", "south", "west")[row % 3]
        lines.append(
            f"{20 + row % 40},{gap},{row % 5 + 0.25},{port},2024-01-{row % 28 + 1:02},{'yes' if row % 2 else 'no'}"
        )
    file.write_text("\n".join(lines))
    preparation = nw.load(str(file), target="left").train.preparation
    torch.manual_seed(3)
    return answering_of(
        preparation, nn.Linear(preparation.prepared_shape[0], 2), ("no", "yes"), name="people"
    )


def made() -> dict[str, Answering]:
    torch.manual_seed(0)
    digits = ImagePreparation((1, 8, 8), scale=16.0, highest=16, mean=[0.3], std=[0.4])
    photos = ImagePreparation((3, 16, 16), scale=255.0)
    tokens = TextPreparation([40], tokenizer=Characters("abcdefghijklmnopqrstuvwxyz /.").to_dict())
    sound = SoundPreparation((800,), rate=8000, mels=8, window=200, hop=80)
    series = SeriesPreparation(
        (4, 2),
        columns=["load", "degrees"],
        targets=["load", "degrees"],
        horizon=3,
        mean=[10.0, 5.0],
        std=[2.0, 1.0],
        pace={"unit": "number", "size": 1.0},
    )
    ten = tuple("0123456789")
    return {
        "digits": answering_of(digits, nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), ten, name="digits"),
        "photos": answering_of(
            photos, nn.Sequential(nn.Flatten(), nn.Linear(768, 2)), ("cat", "<script>alert(1)</script>")
        ),
        "rows": answering_of(FeaturePreparation((4,)), nn.Linear(4, 1), None),
        "text": answering_of(tokens, MeanOfTokens(tokens.tokenizer.vocabulary, 2), ("bad", "good")),
        "sound": answering_of(
            sound, nn.Sequential(nn.Flatten(), nn.Linear(8 * 11, 3)), ("one", "two", "three")
        ),
        "series": answering_of(series, Forecast(3), None),
    }


@pytest.fixture(scope="session")
def answerings(table: Answering) -> dict[str, Answering]:
    return {**made(), "table": table}


class Client:
    """An application in this process, asked as over HTTP."""

    def __init__(self, answering: Answering, limits: Limits = QUICK) -> None:
        self.application = Application(answering, limits)
        self.application.predicting.warm_up()

    def run(self, work: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
        async def within() -> Any:
            transport = httpx.ASGITransport(app=self.application)
            async with httpx.AsyncClient(transport=transport, base_url="http://net") as client:
                return await work(client)

        return asyncio.run(within())

    def get(self, path: str) -> httpx.Response:
        return self.run(lambda client: client.get(path))

    def post(self, **request: Any) -> httpx.Response:
        return self.run(lambda client: client.post("/predict", **request))

    def inputs(self, *inputs: Any) -> httpx.Response:
        return self.post(json={"inputs": list(inputs)})


@pytest.fixture
def client(answerings: dict[str, Answering]) -> Iterator[Callable[..., Client]]:
    """`client(kind, limits)`: an application of one of the small networks."""
    opened: list[Client] = []

    def of(kind: str | Answering, limits: Limits = QUICK) -> Client:
        answering = answerings[kind] if isinstance(kind, str) else kind
        opened.append(Client(answering, limits))
        return opened[-1]

    yield of
    for one in opened:
        one.application.predicting.close()


@contextlib.contextmanager
def listening(answering: Answering, limits: Limits) -> Iterator[int]:
    """A server in a thread of this process; gives its port."""
    bound = bound_socket("127.0.0.1", 0)
    ready = threading.Event()
    server = server_of(answering, replace(limits, closing_seconds=2), on_ready=ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        assert ready.wait(60)
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        bound.close()
        assert not thread.is_alive()


@pytest.fixture
def port(answerings: dict[str, Answering]) -> Iterator[Callable[..., int]]:
    """`port(kind, limits)`: where a server of one of the small networks listens."""
    with contextlib.ExitStack() as servers:
        yield lambda kind, limits=QUICK: servers.enter_context(listening(answerings[kind], limits))


@pytest.fixture
def slow(answerings: dict[str, Answering]) -> Callable[[float], Answering]:
    """`slow(seconds)`: the digits' network, taking so long for each batch."""

    def of(seconds: float) -> Answering:
        fast = answerings["digits"]

        def forward(raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
            time.sleep(seconds)
            return fast.forward(raw)

        return replace(fast, forward=forward)

    return of


@pytest.fixture
def malformed() -> Any:
    """The maker of requests that no client should send: benchmarks/serving/malformed.py."""
    import importlib.util

    path = Path(__file__).parents[3] / "benchmarks" / "serving" / "malformed.py"
    spec = importlib.util.spec_from_file_location("netwright_malformed", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
