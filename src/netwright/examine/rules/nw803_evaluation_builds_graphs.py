"""NW803: evaluation without no_grad or inference_mode."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Forward, Observation, Operand
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW803",
    slug="evaluation-builds-graphs",
    level="advice",
    by="epoch",
    title="evaluation builds graphs that nothing uses",
    what="The network runs with gradients recorded in an evaluation: no no_grad or inference_mode stands around it, and no backward "
    "follows.",
    why="Every intermediate result is kept for a backward that never comes. That costs memory (often as much as training, "
    "so that a larger batch fails) and some time.",
    fix="Put `with torch.no_grad():` (or torch.inference_mode()) around the evaluation, or @torch.no_grad() before its function.",
    example="model.eval()\nfor x, y in test_loader: score(model(x), y)                             # wrong\n"
    "model.eval()\nwith torch.no_grad():\n    for x, y in test_loader: score(model(x), y)    # right",
    limits="Silent where the gradient of the input is wanted (saliency, attacks, physics) and where no parameter wants a gradient. "
    "Without model.eval(), an evaluation is known by its outputs being compared in the traced steps.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    trained = {batch.place for batch in observation.trained if batch.place is not None}
    if not observation.backward_count:
        raise NotObserved("no backward was seen")
    sites: dict[tuple[str, int], list[Forward]] = {}
    for forward in _unused(observation):
        if forward.place is not None and forward.place not in trained:
            sites.setdefault((forward.place.file, forward.place.line), []).append(forward)
    for forwards in sites.values():
        first = forwards[0]
        yield evidence(
            observation,
            first.place,
            seen={
                "forwards_with_gradients": len(forwards),
                "backwards_after_them": 0,
                "examples": first.shape[0],
            },
            expected={"forwards_with_gradients": 0},
            layer=first.module,
            step=first.step,
            title="the evaluation records gradients that nothing uses: no no_grad stands around it",
            harm="likely",
        )


def _unused(observation: Observation) -> Iterator[Forward]:
    """Yields forwards of an evaluation whose graph no backward uses."""
    starts = {seen.order for seen in observation.passes if seen.grad_enabled and seen.complete}
    places = {seen.place for seen in observation.passes if seen.grad_enabled and seen.complete}
    recorded = [
        entry for entry in observation.forwards if entry.grad_enabled and entry.output_grad and entry.shape
    ]
    for number, forward in enumerate(recorded):
        if forward.input_grad:
            continue
        if forward.followed or not (
            forward.order in starts or (not forward.training and forward.place in places)
        ):
            later = next(
                (one.order for one in recorded[number + 1 :] if one.module == forward.module), 1 << 60
            )
            ended = later < 1 << 60 or observation.ended in ("end", "exit")
            if (
                forward.followed
                or forward.step == 0
                or not ended
                or not _compared(observation, forward, later)
            ):
                continue
        yield forward


def _compared(observation: Observation, forward: Forward, later: int) -> bool:
    """Returns whether the output of a forward is compared with labels, and comes into no loss that trains."""
    if any(forward.order < backward.order < later for backward in observation.backwards):
        return False
    root = observation.modules[forward.module].root

    def answers(operand: Operand) -> bool:
        made = observation.made(operand)
        behind = [made, *observation.ancestors(made)] if made is not None else []
        return any(
            entry.order > forward.order
            and entry.module >= 0
            and entry.grad
            and observation.modules[entry.module].root == root
            for entry in behind
        )

    # Of both sides of a comparison one comes from the network: a distribution that checks its samples compares them with
    # themselves.
    return any(
        answers(op.inputs[0]) != answers(op.inputs[1])
        for op in observation.ops
        if forward.order < op.order < later
        and op.name in ("eq", "ne")
        and op.module < 0
        and len(op.inputs) == 2
    )


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs = torch.randn(360, 20)
labels = (inputs @ torch.randn(20, 4)).argmax(1)
train_loader = DataLoader(TensorDataset(inputs[:300], labels[:300]), batch_size=30, shuffle=True)
test_loader = DataLoader(TensorDataset(inputs[300:], labels[300:]), batch_size=30)
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(3):
    network.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.eval()
    correct = 0
{evaluation}
    print(epoch, correct / 60)
"""
bad = _PROGRAM.replace(
    "{evaluation}",
    "    for x, y in test_loader:\n        correct += (network(x).argmax(1) == y).sum().item()",
)
good = _PROGRAM.replace(
    "{evaluation}",
    "    with torch.no_grad():\n        for x, y in test_loader:\n"
    "            correct += (network(x).argmax(1) == y).sum().item()",
)
near_miss = _PROGRAM.replace(
    "{evaluation}",
    "    for x, y in test_loader:  # which inputs matter: gradients of the inputs are wanted\n"
    "        x = x.clone().requires_grad_(True)\n"
    "        scores = network(x)\n"
    "        correct += (scores.argmax(1) == y).sum().item()\n"
    "        saliency = torch.autograd.grad(scores.max(1).values.sum(), x)[0].abs()",
)
