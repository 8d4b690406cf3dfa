"""The programs in examples/: their settings are those that they are known by, and shortened they run and learn."""

from __future__ import annotations

import ast
import importlib.util
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netwright import network
from netwright.recipe import Recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 6400  # 100 batches of 64
SHORT = ("--limit", LIMIT, "--epochs", 1)
needs_data = pytest.mark.skipif(
    "NETWRIGHT_DATA" not in os.environ, reason="NETWRIGHT_DATA names no folder with MNIST and FashionMNIST"
)

ADAM = {"name": "adam", "lr": 0.001}
# Layers are written as `outline` below does. `learns`: an accuracy that the shortened run is well above.
PROGRAMS: dict[str, dict[str, Any]] = {
    "a_relu_on_output": {
        "layers": ["784-128", "Sigmoid", "128-64", "Sigmoid", "64-10", "ReLU"],
        "optimizer": ADAM,
        "parameters": 109_386,
    },
    "a_repaired": {
        "layers": ["784-128", "Sigmoid", "128-64", "Sigmoid", "64-10"],
        "optimizer": ADAM,
        "parameters": 109_386,
        "learns": 0.6,
    },
    "b_running_loss": {
        "layers": ["784-512", "ReLU", "512-10"],
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.5},
        "parameters": 407_050,
        "preparation": (0.1307, 0.3081),
        "learns": 0.8,
    },
    "c_one_hidden_layer": {
        "layers": ["784-500", "ReLU", "500-10"],
        "optimizer": {"name": "sgd", "lr": 0.01},
        "parameters": 397_510,
        "learns": 0.75,
    },
    "d_fashion_inspected": {
        "source": "fashion-mnist",
        "layers": ["784-512", "ReLU", "512-512", "ReLU", "512-10"],
        "optimizer": ADAM,
        "parameters": 669_706,
        "learns": 0.7,
    },
    "e_log_softmax_nll": {
        "layers": ["784-128", "ReLU", "128-10", "LogSoftmax"],
        "loss": "nll",
        "optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "parameters": 101_770,
        "learns": 0.8,
    },
    "f_mixed_activations": {
        "layers": ["784-128", "ReLU", "128-64", "LeakyReLU", "64-10", "LogSoftmax"],
        "loss": "nll",
        "optimizer": ADAM,
        "parameters": 109_386,
        "learns": 0.8,
    },
}


def recipe_of(name: str) -> Recipe:
    return Recipe.build(Recipe.read(EXAMPLES / f"{name}.yaml"))


def module_of(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def recipe_network(name: str) -> nn.Module:
    recipe = recipe_of(name).network
    return network(recipe.name, input_shape=(1, 28, 28), num_outputs=10, **recipe.options())


def python_network(name: str) -> nn.Module:
    if name == "c_one_hidden_layer":  # it names its network, in the call that is checked below
        return network("mlp", input_shape=(1, 28, 28), num_outputs=10, hidden=[500], activation="relu")
    module = module_of(name)
    builders = [getattr(module, builder, None) for builder in ("make_network", "Network", "Mixed")]
    return next(builder for builder in builders if builder)()


def outline(net: nn.Sequential) -> list[str]:
    """The layers of a sequential network in words, without Flatten."""
    return [
        f"{layer.in_features}-{layer.out_features}" if isinstance(layer, nn.Linear) else type(layer).__name__
        for layer in net
        if not isinstance(layer, nn.Flatten)
    ]


def calls_in(name: str) -> set[str]:
    """Every call in an example's Python file, as Python writes it: lr=0.001 for lr=1e-3."""
    tree = ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def code_lines(name: str) -> list[str]:
    """The lines of an example's Python file below its docstring."""
    return (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").split('"""', 2)[2].splitlines()


def last_accuracy(printed: str) -> float:
    return float(re.findall(r"test accuracy ([\d.]+)%", printed)[-1]) / 100


def shortened(netwright: Any, name: str, *more: str) -> dict[str, Any]:
    """What `netwright fit` says of a recipe carried out on a part of the data."""
    result = netwright("fit", EXAMPLES / f"{name}.yaml", *SHORT, "--json", "--out", f"run-{name}", *more).json
    assert result["parameters"] == PROGRAMS[name]["parameters"]
    assert (result["epochs"], result["steps"]) == (1, LIMIT // 64)
    return result


def shows_running_loss(printed: str) -> None:
    [(epoch, batch, loss)] = re.findall(r"epoch (\d+), batch (\d+): running loss ([\d.]+)", printed)
    assert (epoch, batch) == ("1", "100")
    assert 0.3 < float(loss) < math.log(10)


def shows_answers(printed: str) -> None:
    assert len(re.findall(r"^image \d: a \d, with probability [01]\.\d{3}$", printed, re.M)) == 5
    assert Path(re.findall(r"^report: (.*)$", printed, re.M)[0]).name == "report.html"


def shows_the_inside(printed: str) -> None:
    assert re.match(r"device: \w+\nSequential\(\n  \(0\): Flatten", printed)
    shares = re.findall(r"^  \S.{10,} ([01]\.\d{4})$", printed, re.M)
    assert len(shares) == 10 and sum(map(float, shares)) == pytest.approx(1, abs=1e-3)
    shown = re.findall(r"^  (\d\.\w+) +size (\(.*?\)) +first values (.*)$", printed, re.M)
    expected = {
        key: str(tuple(value.shape))
        for key, value in python_network("d_fashion_inspected").named_parameters()
    }
    assert {key: size for key, size, _ in shown} == expected
    assert all(len(values.split(", ")) == 4 for *_, values in shown)


def shows_each_class(printed: str) -> None:
    assert re.findall(r"^  digit (\d): precision", printed, re.M) == list("0123456789")


WHAT_IT_SHOWS = {
    "b_running_loss": shows_running_loss,
    "c_one_hidden_layer": shows_answers,
    "d_fashion_inspected": shows_the_inside,
    "f_mixed_activations": shows_each_class,
}


def test_the_table_above_has_every_example() -> None:
    for suffix in ("yaml", "py"):
        assert {path.stem for path in EXAMPLES.glob(f"?_*.{suffix}")} == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_recipe_has_the_program_s_settings(name: str) -> None:
    program, recipe = PROGRAMS[name], recipe_of(name)
    assert recipe.data.source == program.get("source", "mnist")
    assert (recipe.data.batch, recipe.train.epochs) == (64, 10)
    assert recipe.optimizer.model_dump() == program["optimizer"]
    assert recipe.loss.name == program.get("loss", "cross-entropy")
    assert (recipe.data.mean, recipe.data.std) == program.get("preparation", (None, None))
    assert recipe.data.preparation == "standard"
    assert recipe.schedule.name == "constant"
    assert recipe.log.every_steps == 100
    # The network after the last epoch is the result, as in the programs that these recipes stand for.
    assert (recipe.checkpoint.keep, recipe.early_stopping.patience) == ("last", None)


@pytest.mark.parametrize("name", PROGRAMS)
def test_recipe_builds_the_program_s_network(name: str) -> None:
    net = recipe_network(name)
    assert outline(net) == PROGRAMS[name]["layers"]
    assert sum(parameter.numel() for parameter in net.parameters()) == PROGRAMS[name]["parameters"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_python_file_builds_the_same_network(name: str) -> None:
    net, same = python_network(name).eval(), recipe_network(name).eval()
    same.load_state_dict(dict(zip(same.state_dict(), net.state_dict().values(), strict=True)))
    images = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 5
    torch.testing.assert_close(net(images), same(images))


def test_leaky_relu_of_f_has_slope_0_01() -> None:
    [layer] = [layer for layer in recipe_network("f_mixed_activations") if isinstance(layer, nn.LeakyReLU)]
    assert layer.negative_slope == 0.01


@pytest.mark.parametrize(
    ("name", "calls"),
    {
        "a_relu_on_output": ["nn.CrossEntropyLoss()", "torch.optim.Adam(model.parameters(), lr=0.001)"],
        "a_repaired": ["nn.CrossEntropyLoss()", "torch.optim.Adam(model.parameters(), lr=0.001)"],
        "e_log_softmax_nll": [
            "nn.NLLLoss()",
            "torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)",
            "split.batches(1000)",
        ],
    }.items(),
)
def test_python_file_has_the_program_s_settings(name: str, calls: list[str]) -> None:
    # Those of the other files are checked by their results, which are their recipes' to the digit.
    assert set(calls) <= calls_in(name)
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert set(re.findall(r"batch(?:_size=|\": |=)(\d+)", source)) <= {"64", "1000"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_python_file_trains_ten_epochs_unless_told_otherwise(name: str) -> None:
    assert "parser.add_argument('--epochs', type=int, default=10)" in calls_in(name)


def test_the_fault_is_kept_and_is_the_only_difference_to_its_twin() -> None:
    faulty, repaired = code_lines("a_relu_on_output"), code_lines("a_repaired")
    changed = [(old, new) for old, new in zip(faulty, repaired, strict=True) if old != new]
    assert len(changed) == 1
    assert "torch.relu(self.output(x))" in changed[0][0] and "torch.relu" not in changed[0][1]
    recipes = [recipe_of(name).model_dump() for name in ("a_relu_on_output", "a_repaired")]
    assert recipes[0]["network"].pop("output_activation") == "relu"
    assert recipes[0] == recipes[1]


@needs_data
@pytest.mark.parametrize(
    "name", ["b_running_loss", "c_one_hidden_layer", "d_fashion_inspected", "f_mixed_activations"]
)
def test_recipe_and_python_file_learn_the_same(netwright: Any, script: Any, name: str) -> None:
    result = shortened(netwright, name)
    assert result["findings"] == []
    printed = script(EXAMPLES / f"{name}.py", *SHORT).stdout
    assert result["test"]["accuracy"] > PROGRAMS[name]["learns"]
    # The same seed, so the same weights; half a dozen of 6,400 may round otherwise in batches of another size.
    assert last_accuracy(printed) == pytest.approx(result["test"]["accuracy"], abs=0.001)
    WHAT_IT_SHOWS[name](printed)


@needs_data
def test_recipe_a_is_stopped_for_its_fault_and_its_twin_learns(netwright: Any) -> None:
    stopped = netwright("fit", EXAMPLES / "a_relu_on_output.yaml", *SHORT, code=1)
    assert "NW104" in stopped.stderr and "--force" in stopped.stderr
    faulty = shortened(netwright, "a_relu_on_output", "--force")
    repaired = shortened(netwright, "a_repaired")
    assert [finding["slug"] for finding in faulty["findings"]] == ["relu-on-logits"]
    assert repaired["findings"] == []
    assert repaired["test"]["accuracy"] > PROGRAMS["a_repaired"]["learns"]
    assert repaired["test"]["accuracy"] > faulty["test"]["accuracy"] + 0.1


@needs_data
def test_script_a_is_found_faulty_where_it_is_and_its_twin_learns(netwright: Any) -> None:
    accuracies = {}
    for name, slugs in {"a_relu_on_output": ["relu-on-logits"], "a_repaired": []}.items():
        file = EXAMPLES / f"{name}.py"
        done = netwright("examine", "--json", f"{name}.json", file, *SHORT, code=1 if slugs else 0)
        findings = json.loads((netwright.folder / f"{name}.json").read_text(encoding="utf-8"))["findings"]
        assert [finding["slug"] for finding in findings] == slugs
        for finding in findings:
            assert (
                "torch.relu(self.output(x))"
                in file.read_text(encoding="utf-8").splitlines()[finding["line"] - 1]
            )
        accuracies[name] = last_accuracy(done.stdout)
    assert accuracies["a_repaired"] > PROGRAMS["a_repaired"]["learns"]
    assert accuracies["a_repaired"] > accuracies["a_relu_on_output"] + 0.1


@needs_data
def test_program_e_learns_and_is_tested_after_each_epoch(netwright: Any, script: Any) -> None:
    name = "e_log_softmax_nll"
    result = shortened(netwright, name)
    assert result["findings"] == []
    assert result["test"]["accuracy"] > PROGRAMS[name]["learns"]
    [*_, record] = map(
        json.loads, (netwright.folder / f"run-{name}" / "metrics.jsonl").read_text().splitlines()
    )
    assert record["validation_accuracy"] > PROGRAMS[name]["learns"]
    printed = script(EXAMPLES / f"{name}.py", *SHORT, "--epochs", 2).stdout.splitlines()
    assert [line.split(":")[0] for line in printed] == ["epoch 1", "epoch 2"]
    losses, accuracies = zip(*(map(float, re.findall(r"\d+\.\d+", line)) for line in printed), strict=True)
    assert losses[1] < losses[0] < 0.6
    assert accuracies[1] > accuracies[0] > 100 * PROGRAMS[name]["learns"]
