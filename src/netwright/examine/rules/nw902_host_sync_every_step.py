"""NW902: the program waits for the accelerator in every step."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

NEEDS = "an accelerator"
RULE = Rule(
    code="NW902",
    slug="host-sync-every-step",
    level="advice",
    by="100",
    title="a number is fetched from the accelerator in every step",
    what="In every training step the program reads a tensor that is on the accelerator: .item(), .cpu(), .tolist(), float(), a "
    "condition on a tensor.",
    why="An accelerator works through a queue. To hand out a number it must be done with everything before it, and while it is, "
    "nothing new is queued: it then stands still until the program has caught up. With small steps this costs a large part "
    "of the time.",
    fix="Collect with .detach() on the device (total += loss.detach()) and read it every 50 steps, or once an epoch.",
    example="total += loss.item()                    # wrong: waits in every step\n"
    "total += loss.detach()                  # right: read once an epoch, total.item()",
    limits="Counts the calls in the first steps; what they cost is not measured. Silent on the CPU, during evaluation, under no_grad, "
    "and where the lines do not run in every step. Printing a tensor and boolean masks wait too, and are not seen.",
)
_STEPS = 3


def check(observation: Observation) -> Iterator[Evidence]:
    if not any(parameter.device not in ("", "cpu", "meta") for parameter in observation.parameters):
        raise NotObserved("the program ran on the CPU")
    if observation.step_count < _STEPS:
        raise NotObserved(f"fewer than {_STEPS} optimizer steps")
    lines: dict[Place, list[Op]] = {}
    for op in observation.ops:
        if op.options.get("device") and op.grad_enabled and op.place is not None:
            lines.setdefault(op.place, []).append(op)
    for place, ops in lines.items():
        steps = {op.step for op in ops}
        if len(steps) < _STEPS or max(steps) - min(steps) >= 2 * len(steps):
            continue
        each = len(ops) / len(steps)
        word = {"float_": "float()", "bool": "a condition", "int": "int()"}.get(
            ops[0].name, f".{ops[0].name}()"
        )
        yield evidence(
            observation,
            place,
            seen={"waits_a_step": round(each, 2), "by": word, "device": ops[0].options["device"]},
            expected={"waits_a_step": 0},
            step=min(steps),
            title=f"{word} waits for the accelerator in every step, {each:.3g} time(s)",
        )


_PROGRAM = """
import torch
from torch import nn

torch.manual_seed(0)
device = "cuda"
inputs, labels = torch.randn(64, 20, device=device), torch.randint(0, 4, (64,), device=device)
network = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4)).to(device)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
total = torch.zeros((), device=device)
for step in range(8):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
    total += {number}
print(total.item() / 8)
"""
bad = _PROGRAM.replace("{number}", "loss.item()")
good = _PROGRAM.replace("{number}", "loss.detach()")
near_miss = _PROGRAM.replace(
    "{number}", "loss.detach()\n    if step % 5 == 4:\n        print(step, loss.item())"
)
