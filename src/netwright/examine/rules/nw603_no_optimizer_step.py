"""NW603: backward runs, nothing ever steps."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW603",
    slug="no-optimizer-step",
    level="error",
    by="2",
    title="backward runs, but the optimizer never steps",
    what="The program computes gradients again and again and has an optimizer for these parameters, but never calls step().",
    why="The weights do not change. The loss that is printed moves only with the batches.",
    fix="Call optimizer.step() after loss.backward().",
    example="optimizer.zero_grad(); loss.backward()                        # wrong\n"
    "optimizer.zero_grad(); loss.backward(); optimizer.step()      # right",
    limits="Waits for 20 backwards or the end of the program. Silent without an optimizer (saliency, adversarial examples), "
    "and where the program changes its parameters by hand.",
    explains=frozenset({"NW601", "NW502", "NW512", "NW607"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    counts = observation.counts
    if observation.step_count:
        yield from _one_of_several(observation)
    if (
        observation.step_count
        or counts.get("scaler_step")
        or counts.get("manual_update")
        or counts.get("grad")
    ):
        return
    enough = 20 if not observation.ended else 3
    if observation.backward_count < enough or observation.ended in ("crash", "signal"):
        return
    if any(entry.moved for entry in observation.backwards):
        return
    graded = {
        int(uid) for entry in observation.backwards for uid, size in entry.gradients.items() if size != 0
    }
    for optimizer in observation.optimizers:
        if not graded & set(optimizer.parameters):
            continue
        place = next((entry.place for entry in observation.backwards if entry.place is not None), None)
        yield evidence(
            observation,
            place or optimizer.place,
            seen={"backwards": observation.backward_count, "optimizer_steps": 0},
            expected={"optimizer_steps": "at least 1"},
            title=f"backward ran {observation.backward_count} times, but the optimizer never stepped",
            harm="measured",
        )
        return


def _one_of_several(observation: Observation) -> Iterator[Evidence]:
    """Yields the optimizer that is cleared like the others, whose parameters get gradients, and that never stepped."""
    if observation.ended not in ("end", "exit") or observation.step_count < 20:
        return
    cleared = {
        event.detail.get("optimizer"): event for event in reversed(list(observation.of_kind("zero_grad")))
    }
    updated = {event.detail["parameter"] for event in observation.of_kind("manual_update")}
    stepped = {uid for entry in observation.optimizers if entry.steps for uid in entry.parameters}
    for optimizer in observation.optimizers:
        mine = set(optimizer.parameters)
        event = cleared.get(optimizer.uid)
        if (
            optimizer.steps
            or event is None
            or mine & (stepped | updated)
            or observation.counts.get("scaler_step")
        ):
            continue
        filled = [
            entry
            for entry in observation.backwards
            if any(size != 0 and int(uid) in mine for uid, size in entry.gradients.items())
        ]
        sampled = [entry for entry in observation.backwards if entry.gradients]
        if len(filled) < 3 or len(filled) < len(sampled) or any(entry.moved for entry in filled):
            continue
        yield evidence(
            observation,
            filled[0].place or optimizer.place,
            also=[optimizer.place, event.place],
            seen={"backwards": observation.backward_count, "steps_of_this_optimizer": 0},
            expected={"steps_of_this_optimizer": "at least 1"},
            step=filled[0].step,
            title=f"one of {len(observation.optimizers)} optimizers never stepped: its {len(mine)} parameters get gradients "
            "and stay as they are",
            harm="measured",
        )
        return


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
{optimizer}
for step in range(6):
    {clear}
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
{update}    print(step, loss.item())
"""
_MADE = "optimizer = torch.optim.SGD(network.parameters(), lr=0.1)"
bad = (
    _PROGRAM.replace("{optimizer}", _MADE).replace("{clear}", "optimizer.zero_grad()").replace("{update}", "")
)
good = (
    _PROGRAM.replace("{optimizer}", _MADE)
    .replace("{clear}", "optimizer.zero_grad()")
    .replace("{update}", "    optimizer.step()\n")
)
near_miss = (
    _PROGRAM.replace("{optimizer}", "")
    .replace("{clear}", "network.zero_grad()")
    .replace(
        "{update}",
        "    for parameter in network.parameters():\n        parameter.data -= 0.1 * parameter.grad\n",
    )
)
