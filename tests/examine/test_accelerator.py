"""NW902 and NW903 on records: machines without an accelerator can test what the rules make of what is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from netwright.examine import Observation, find_rule
from netwright.examine.observation import Module, Op, Optimizer, Parameter, Place
from netwright.examine.rules import NotObserved

LINE = Place("train.py", 12, "<module>")


def trained(device: str, *, size: int = 400, steps: int = 5) -> Observation:
    observation = Observation(step_count=steps, accelerator="cuda")
    observation.modules.append(Module(0, "", "Net", False, 0, place=LINE))
    observation.parameters.append(Parameter(0, "weight", 0, (size, size), "float32", device))
    observation.optimizers.append(Optimizer(0, "Adam", [{"lr": 0.1}], [0], place=LINE))
    return observation


def fetched(
    observation: Observation, steps: list[int], *, grad_enabled: bool = True, device: str = "cuda"
) -> Observation:
    for step in steps:
        number = len(observation.ops)
        op = Op(
            number, number, step, "item", [], {"device": device} if device else {}, grad_enabled=grad_enabled
        )
        op.place = LINE
        observation.ops.append(op)
    return observation


def test_a_number_in_every_step() -> None:
    (one,) = find_rule("NW902").check(fetched(trained("cuda:0"), [1, 2, 3, 1, 2, 3]))
    assert (one.file, one.line) == ("train.py", 12)
    assert one.seen == {"waits_a_step": 2.0, "by": ".item()", "device": "cuda"}


@pytest.mark.parametrize(
    "observation",
    [
        fetched(trained("cuda:0"), [3, 3, 3]),
        fetched(trained("cuda:0"), [1, 2, 3], grad_enabled=False),
        fetched(trained("cuda:0"), [1, 2, 3], device=""),
        fetched(trained("cuda:0"), [0, 5, 10]),
    ],
    ids=["one step", "evaluation", "on the CPU", "now and then"],
)
def test_no_number_in_every_step(observation: Observation) -> None:
    assert list(find_rule("NW902").check(observation)) == []


def test_no_accelerator_no_waiting() -> None:
    with pytest.raises(NotObserved, match="on the CPU"):
        list(find_rule("NW902").check(fetched(trained("cpu"), [1, 2, 3])))


def test_idle_accelerator() -> None:
    (one,) = find_rule("NW903").check(trained("cpu"))
    assert (one.file, one.line) == ("train.py", 12)
    assert one.seen["accelerator"] == "cuda" and one.seen["parameters"] == 160_000


def test_accelerator_at_work_or_not_worth_it() -> None:
    assert list(find_rule("NW903").check(trained("cuda:0"))) == []
    assert list(find_rule("NW903").check(trained("cpu", size=30))) == []
    without = trained("cpu")
    without.accelerator = ""
    with pytest.raises(NotObserved, match="no accelerator"):
        list(find_rule("NW903").check(without))


def test_cpu_asked_for(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text('model = Net().to("cpu")\n')
    observation = trained("cpu")
    observation.modules[0].place = Place(str(script), 1)
    assert list(find_rule("NW903").check(observation)) == []
