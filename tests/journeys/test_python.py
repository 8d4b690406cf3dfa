"""`import netwright as nw`: a module and data of one's own, a loop of one's own, entries of one's own."""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import netwright as nw

NAMES = ("load", "network", "fit", "train", "Run")
REGISTRIES = ("activations", "losses", "optimizers", "schedules", "networks", "datasets")


@pytest.fixture(autouse=True)
def in_an_empty_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without `out` go into `runs/` there; what a test adds to a registry is gone after it."""
    monkeypatch.chdir(folder)
    for name in REGISTRIES:
        registry = getattr(nw, name)
        assert isinstance(registry, dict), f"nw.{name} is {registry!r}, not a dictionary of names"


def clouds(count: int = 240, classes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds of points, far enough apart to be told apart: (count, 4) float32 and (count,) int64."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % classes
    return torch.randn(count, 4, generator=generator) + 8 * nn.functional.one_hot(y, 4), y


def fitted(*arguments: Any, **options: Any) -> Any:
    return nw.fit(*arguments, **{"epochs": 5, "quiet": True, "device": "cpu", **options})


def python(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# -------------------------------------------------------------------------------------------- importing


def test_importing_netwright_imports_nothing_heavy() -> None:
    heavy = (
        "sklearn scipy torchmetrics matplotlib PIL pooch pydantic rich jinja2 typer requests yaml torchvision"
    )
    code = f"import sys, netwright; print([m for m in {heavy.split()!r} if m in sys.modules])"
    assert python(code).strip() == "[]"


def test_importing_netwright_imports_itself_alone() -> None:
    """The import is one small file, and what is first used brings nothing but netwright and Python's own library."""
    code = (
        "import sys, torch; before = set(sys.modules)\n"
        "import netwright; print(sorted(set(sys.modules) - before))\n"
        "netwright.load, netwright.network\n"
        "roots = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(roots - set(sys.stdlib_module_names) - {'netwright'}))"
    )
    assert python(code).splitlines() == ["['netwright']", "[]"]


@pytest.mark.parametrize("first", [*NAMES, *REGISTRIES])
def test_every_public_name_is_what_it_is_whatever_was_used_before(first: str) -> None:
    """`netwright.networks` is a folder of the package and a registry: it must be the registry."""
    code = (
        f"import netwright as nw; nw.{first}\n"
        f"for name in {REGISTRIES!r}: assert isinstance(getattr(nw, name), dict), (name, getattr(nw, name))\n"
        f"for name in {NAMES!r}: assert callable(getattr(nw, name)), name"
    )
    python(code)


def test_names_can_be_imported_one_by_one() -> None:
    for name in (*NAMES, *REGISTRIES):
        assert name in dir(nw)
    python("from netwright import networks, network, activations; networks['mlp']; assert callable(network)")


# ------------------------------------------------------------------------------------------------- load


def test_tensors_arrays_and_pairs_are_the_same_data() -> None:
    x, y = clouds()
    found = [nw.load(x, y), nw.load(x.numpy(), y.numpy()), nw.load((x, y)), nw.load((x.numpy(), y))]
    for data in found:
        assert (len(data.train), len(data.validation), len(data.test)) == (len(found[0].train), 24, 48)
        assert len(data.train) + len(data.validation) + len(data.test) == 240
        assert torch.equal(data.train.inputs, found[0].train.inputs)
        assert torch.equal(data.train.targets, found[0].train.targets)


def test_the_statistics_are_those_of_the_training_part_alone() -> None:
    data = nw.load(*clouds())
    prepared = data.preparation(data.train.inputs)
    assert prepared.mean(0) == pytest.approx(torch.zeros(4), abs=1e-5)
    assert prepared.std(0, correction=0) == pytest.approx(torch.ones(4), abs=1e-3)
    assert data.preparation(data.test.inputs).mean(0).abs().max() > 1e-3


def test_parts_are_stratified_seeded_and_disjoint() -> None:
    x, y = clouds()
    data = nw.load(x, y, seed=1)
    for part in (data.train, data.validation, data.test):
        counts = torch.bincount(part.targets, minlength=3)
        assert counts.max() - counts.min() <= 2
    rows = torch.cat([data.train.inputs, data.validation.inputs, data.test.inputs])
    assert len(torch.unique(rows, dim=0)) == 240
    assert torch.equal(nw.load(x, y, seed=1).test.inputs, data.test.inputs)
    assert not torch.equal(nw.load(x, y, seed=2).test.inputs, data.test.inputs)


def test_equal_examples_never_cross_from_one_part_to_another() -> None:
    x, y = clouds(120)
    data = nw.load(torch.cat([x, x, x]), torch.cat([y, y, y]))
    seen = [{tuple(row) for row in part.inputs.tolist()} for part in (data.train, data.validation, data.test)]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


class Items(torch.utils.data.Dataset[Any]):
    def __init__(self, count: int = 240, seed: int = 0) -> None:
        self.x, self.y = clouds(count, seed=seed)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.x[index], int(self.y[index])


@pytest.mark.parametrize(
    "source",
    [
        lambda: Items(),
        lambda: torch.utils.data.TensorDataset(*clouds()),
        lambda: torch.utils.data.Subset(Items(), range(200)),
        lambda: {"train": Items(200, 1), "validation": Items(60, 2), "test": Items(60, 3)},
        lambda: {"train": clouds(200, seed=1), "test": clouds(60, seed=3)},
    ],
    ids=["dataset", "tensors", "subset", "parts", "pairs"],
)
def test_torch_datasets_are_learned(source: Any) -> None:
    run = fitted("mlp", nw.load(source()), lr=0.02, hidden=[16], epochs=12)
    assert run.test()["accuracy"] > 0.95


# -------------------------------------------------------------------------------------------------- fit


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh())
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def test_the_lines_of_the_design() -> None:
    data = nw.load("digits")
    net = nw.network("mlp", data, hidden=[32, 32], activation="relu")
    run = nw.fit(net, data, optimizer="adam", lr=1e-3, epochs=3, quiet=True)
    scores = run.test()
    low, high = scores["interval"]
    assert low < scores["accuracy"] < high
    found = run.predict(data.test.inputs[:5])
    assert len(found) == 5 and {"label", "probabilities"} <= set(found[0])


def test_a_module_of_your_own_is_trained_and_stays_yours() -> None:
    torch.manual_seed(0)
    net = Own()
    before = [p.clone() for p in net.parameters()]
    run = fitted(net, nw.load(*clouds()), lr=0.01, out="run")
    assert type(net) is Own
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert not net._forward_hooks and not net._forward_pre_hooks and not net._backward_hooks
    assert "forward" not in vars(net)
    assert run.test()["accuracy"] > 0.95


def test_a_run_of_your_own_module_opens_again_with_it() -> None:
    data = nw.load(*clouds())
    run = fitted(Own(), data, lr=0.01, out="run")
    scores = run.test()
    again = nw.Run("run", network=Own(), data=data)
    assert again.test() == scores
    assert again.predict(data.test.inputs[:3]) == run.predict(data.test.inputs[:3])
    with pytest.raises(nw.NetwrightError):
        nw.Run("run").test()


def test_a_run_opens_from_its_folder_alone() -> None:
    first = fitted("mlp", "digits", out="run", hidden=[8])
    run = nw.Run("run")
    assert run.finished
    assert run.test() == first.test()
    assert run.result is not None and run.result["weights_sha256"]
    assert run.classes == tuple("0123456789") or list(run.classes) == list("0123456789")
    assert [h["epoch"] for h in run.history if "train_loss" in h] == [1, 2, 3, 4, 5]


def test_predictions_do_not_depend_on_how_they_are_asked_for(photos: Path) -> None:
    run = fitted("cnn", "photos", channels=[4], batch=8, epochs=6, out="run")
    files = sorted((photos / "light").iterdir())[:6]
    whole = run.predict(files)
    for one, file in zip(whole, files, strict=True):
        assert run.predict(file)[0]["label"] == one["label"]
        assert run.predict(str(file))[0]["probabilities"] == pytest.approx(one["probabilities"], abs=1e-5)
    assert [p["label"] for p in run.predict(photos / "light")[:6]] == [p["label"] for p in whole]
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(f)) for f in files])
    assert [p["label"] for p in run.predict(pixels, batch=4)] == [p["label"] for p in whole]


def test_predicting_moves_no_random_generator_and_leaves_no_gradient() -> None:
    run = fitted("mlp", nw.load(*clouds()), dropout=0.5)
    inputs, _ = clouds()
    run.predict(inputs)
    state = torch.get_rng_state()
    assert run.predict(inputs) == run.predict(inputs)
    assert torch.equal(torch.get_rng_state(), state)
    assert not run.network.training
    assert all(p.grad is None for p in run.network.parameters())


def test_numbers_are_predicted() -> None:
    x, _ = clouds()
    y = x @ torch.tensor([1.0, -2.0, 0.5, 0.0]) + 3
    data = nw.load(x, y)
    assert data.task == "regression"
    run = fitted("mlp", data, lr=0.03, epochs=20, hidden=[32], batch=16)
    scores = run.test()
    truth, found = data.test.targets.numpy(), np.array([p["value"] for p in run.predict(data.test.inputs)])
    assert scores["mae"] == pytest.approx(np.abs(truth - found).mean(), rel=1e-4)
    assert scores["rmse"] == pytest.approx(math.sqrt(((truth - found) ** 2).mean()), rel=1e-4)
    assert scores["r2"] == pytest.approx(
        1 - ((truth - found) ** 2).sum() / ((truth - truth.mean()) ** 2).sum(), rel=1e-4
    )
    assert scores["r2"] > 0.9


def test_several_numbers_are_predicted_at_once() -> None:
    x, _ = clouds()
    run = fitted(
        "mlp", nw.load(x, x[:, :2] * torch.tensor([1.0, -1.0])), lr=0.03, epochs=15, hidden=[32], batch=16
    )
    assert np.shape(run.predict(x[:3])[0]["value"]) == (2,)
    assert run.test()["r2"] > 0.8


def test_the_same_call_gives_the_same_weights_whatever_happened_before() -> None:
    data = nw.load(*clouds())
    first = fitted("mlp", data, dropout=0.3, seed=4).result["weights_sha256"]
    torch.rand(17), np.random.rand(3)
    assert fitted("mlp", data, dropout=0.3, seed=4).result["weights_sha256"] == first
    assert fitted("mlp", data, dropout=0.3, seed=5).result["weights_sha256"] != first


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: nw.load("digitz"), "digits"),
        (lambda: nw.network("mlpp", input_shape=(4,), num_outputs=3), "mlp"),
        (lambda: fitted("mlp", nw.load(*clouds()), optimizer="adamm"), "adam"),
        (lambda: fitted(nn.Linear(4, 7), nw.load(*clouds())), "7"),
        (lambda: fitted(nn.Linear(5, 3), nw.load(*clouds())), "5"),
        (lambda: fitted("mlp", nw.load(*clouds()), recipe={"trian.clip": 1}), "train"),
        (lambda: nw.load(clouds()[0], clouds()[1][:9]), "9"),
        (lambda: nw.load(*clouds(), validation=0.7, test_share=0.7), "168"),
        (lambda: nw.Run("nowhere"), "nowhere"),
        (lambda: list(nw.train(nn.Linear(4, 3), nw.load(*clouds()).train, loss="mes", device="cpu")), "mse"),
    ],
)
def test_errors_are_of_one_tree_and_say_what_to_do(call: Any, word: str) -> None:
    with pytest.raises(nw.NetwrightError, match=word):
        call()


def test_a_network_is_tried_without_touching_anything() -> None:
    data, net = nw.load(*clouds()), Own()
    state, weights = torch.get_rng_state(), {k: v.clone() for k, v in net.state_dict().items()}
    assert nw.network(net, data) is net
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(torch.equal(v, weights[k]) for k, v in net.state_dict().items())


# ------------------------------------------------------------------------------------------------ train


def test_a_loop_of_your_own_with_train() -> None:
    data = nw.load(*clouds())
    torch.manual_seed(0)
    net = nw.network("mlp", data, hidden=[16])
    losses = []
    for step in nw.train(net, data.train, loss="cross-entropy", optimizer="adam", lr=0.01, epochs=4, batch=32,
                         device="cpu"):  # fmt: skip
        losses.append(float(step.loss))
    assert len(losses) == 4 * math.ceil(len(data.train) / 32)
    assert losses[-1] < losses[0] / 2


def test_stopping_early_is_a_line_of_your_own() -> None:
    net, data = Own(), nw.load(*clouds())
    for step in nw.train(net, data.train, epochs=100, device="cpu"):
        if step.number == 7:
            break
    after = [p.clone() for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, net.parameters(), strict=True))


def test_train_is_the_plain_loop() -> None:
    """One batch that is the whole set, SGD: a closed form of PyTorch's own, step for step."""
    x, y = clouds(60)
    torch.manual_seed(0)
    ours, plain = nn.Linear(4, 3), nn.Linear(4, 3)
    plain.load_state_dict(ours.state_dict())
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    loader = [(x, y)]
    options = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": torch.optim.SGD(ours.parameters(), lr=0.1, momentum=0.9),
    }
    for step in nw.train(ours, loader, epochs=10, device="cpu", **options):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(plain(x), y)
        loss.backward()
        optimizer.step()
        assert float(step.loss) == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(ours.weight, plain.weight)


def test_accumulation_is_the_mean_over_all_its_examples() -> None:
    x, y = clouds(60)
    torch.manual_seed(0)
    once, often = nn.Linear(4, 3), nn.Linear(4, 3)
    often.load_state_dict(once.state_dict())
    options = {"loss": "cross-entropy", "optimizer": "sgd", "lr": 0.1, "device": "cpu", "epochs": 5}
    parts = [(x[:32], y[:32]), (x[32:48], y[32:48]), (x[48:], y[48:])]
    assert len(list(nw.train(once, [(x, y)], **options))) == 5
    assert len(list(nw.train(often, parts, accumulate=3, **options))) == 5
    torch.testing.assert_close(once.weight, often.weight)


def test_a_torch_dataloader_is_a_loader() -> None:
    loader = torch.utils.data.DataLoader(Items(), batch_size=48, shuffle=True)
    net = Own()
    steps = list(nw.train(net, loader, optimizer="adam", lr=0.01, epochs=6, device="cpu"))
    assert len(steps) == 6 * 5
    x, y = clouds()
    assert (net(x).argmax(1) == y).float().mean() > 0.9


def test_a_network_can_be_looked_at_between_steps() -> None:
    net, seen = Own(), []
    for step in nw.train(net, nw.load(*clouds()).train, epochs=1, device="cpu", clip=0.5):
        seen.append(
            (step.number, net.head.weight.grad.norm().item() if net.head.weight.grad is not None else None)
        )
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert net.training


# ------------------------------------------------------------------------------------------- registries


@pytest.fixture
def added() -> Any:
    """Adds entries for one test: `added(nw.losses, "mine", entry)`."""
    done = []

    def add(registry: Any, name: str, entry: Any) -> None:
        registry[name] = entry
        done.append((registry, name))

    yield add
    for registry, name in done:
        del registry[name]


class Cube(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x**3


class Gap(nn.Module):
    """A loss with an option: the mean distance of the true class's probability from 1, to a power."""

    def __init__(self, power: float = 1.0) -> None:
        super().__init__()
        self.power = power

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (1 - logits.softmax(1).gather(1, targets[:, None])).pow(self.power).mean()


class Backwards(torch.optim.SGD):
    """An optimizer of one's own (its name is not its deed)."""


def test_the_issue_s_entries_are_there() -> None:
    wanted = {
        "activations": "sigmoid tanh relu leaky-relu elu gelu silu softmax log-softmax binary-step",
        "losses": "mse bce bce-with-logits cross-entropy nll smooth-l1 huber l1",
        "optimizers": "sgd sgd-momentum sgd-nesterov adam adamw rmsprop adagrad adadelta nadam muon",
        "schedules": "constant step cosine one-cycle warmup plateau",
        "networks": "mlp cnn",
        "datasets": "digits mnist fashion-mnist",
    }
    for name, entries in wanted.items():
        assert set(entries.split()) <= set(getattr(nw, name)), name


def test_an_activation_of_your_own(added: Any) -> None:
    added(nw.activations, "cube", Cube)
    run = fitted("mlp", nw.load(*clouds()), activation="cube", hidden=[8], lr=0.01)
    assert any(isinstance(m, Cube) for m in run.network.modules())


def test_a_loss_of_your_own_with_an_option(added: Any) -> None:
    added(nw.losses, "gap", Gap)
    run = fitted("mlp", nw.load(*clouds()), loss="gap", lr=0.01, epochs=15, recipe={"loss.power": 2.0})
    assert run.test()["accuracy"] > 0.9
    with pytest.raises(nw.NetwrightError, match="power"):
        fitted("mlp", nw.load(*clouds()), loss="gap", recipe={"loss.pover": 2.0})


def test_an_optimizer_of_your_own(added: Any) -> None:
    added(nw.optimizers, "backwards", functools.partial(Backwards, momentum=0.5))
    assert fitted("mlp", nw.load(*clouds()), optimizer="backwards", lr=0.1).test()["accuracy"] > 0.9


def test_a_network_of_your_own(added: Any) -> None:
    def ring(input_shape: Any, num_outputs: int, width: int = 5) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(input_shape), width), nn.Linear(width, num_outputs)
        )

    added(nw.networks, "ring", ring)
    run = fitted("ring", nw.load(*clouds()), width=6, lr=0.01)
    assert run.network[1].out_features == 6


def test_a_data_set_of_your_own(added: Any) -> None:
    added(nw.datasets, "clouds", lambda: clouds())
    assert fitted("mlp", "clouds", lr=0.01, out="run").test()["accuracy"] > 0.9
    assert nw.load("clouds").name == "clouds"
    assert nw.Run("run").test()["accuracy"] > 0.9


def test_a_schedule_of_your_own(added: Any) -> None:
    """Built as the registered ones are; looks at one of them for the way."""
    template = nw.schedules["cosine"]

    def gentle(*arguments: Any, **options: Any) -> Any:
        return template(*arguments, **options)

    added(nw.schedules, "gentle", gentle)
    data = nw.load(*clouds())
    own = fitted("mlp", data, schedule="gentle", seed=1).result["weights_sha256"]
    assert own == fitted("mlp", data, schedule="cosine", seed=1).result["weights_sha256"]


def test_an_unknown_name_is_answered_with_entries_of_your_own_too(added: Any) -> None:
    added(nw.activations, "cube", Cube)
    with pytest.raises(nw.NetwrightError, match="cube"):
        nw.network("mlp", input_shape=(4,), num_outputs=2, activation="cub")


# ------------------------------------------------------------------------------------------------ files


def test_an_interrupted_run_from_python_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module and the data are objects, so they are given again."""
    data = nw.load(*clouds())
    torch.manual_seed(0)
    start = Own().state_dict()

    def own() -> Own:
        net = Own()
        net.load_state_dict(start)
        return net

    class Stop(Exception):
        pass

    whole = fitted(own(), data, out="whole", epochs=4).result["weights_sha256"]
    calls = 0
    forward = Own.forward

    def failing(self: Own, x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise Stop
        return forward(self, x)

    options = {"recipe": {"checkpoint.every_steps": 2}, "epochs": 4, "out": "run", "batch": 32}
    whole = fitted(own(), data, **{**options, "out": "whole2"}).result["weights_sha256"]
    monkeypatch.setattr(Own, "forward", failing)
    with pytest.raises(Stop):
        fitted(own(), data, **options)
    monkeypatch.setattr(Own, "forward", forward)
    assert fitted(own(), data, resume=True, **options).result["weights_sha256"] == whole


def test_findings_and_environment_are_json() -> None:
    fitted("mlp", nw.load(*clouds()), out="run")
    assert json.loads(Path("run/findings.json").read_text())["findings"] == []
    assert json.loads(Path("run/environment.json").read_text())["torch"] == torch.__version__


def test_nothing_is_printed_when_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    fitted("mlp", nw.load(*clouds()))
    assert capfd.readouterr() == ("", "")
