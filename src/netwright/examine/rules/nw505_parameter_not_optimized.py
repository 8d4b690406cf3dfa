"""NW505: a parameter gets gradients and is in no optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation, Optimizer
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW505",
    slug="parameter-not-optimized",
    level="error",
    by="step",
    title="parameters get gradients, but no optimizer holds them",
    what="A parameter with requires_grad=True takes part in the loss and gets a gradient, but is in no optimizer.",
    why="It keeps its initial value for ever. The program spends the time of its gradient on every step and trains a "
    "smaller network than it seems to.",
    fix="Hand its module's parameters to the optimizer too; if it is to stay as it is, set requires_grad_(False).",
    example="torch.optim.Adam(decoder.parameters())                                  # wrong: the encoder is forgotten\n"
    "torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])        # right",
    limits="Silent on networks that run in eval mode as a whole and have nothing in any optimizer (feature extractors), and on "
    "parameters that the program changes by hand.",
    explains=frozenset({"NW302", "NW502"}),
)


def strangers(observation: Observation, optimizer: Optimizer) -> list[int]:
    """Returns those of an optimizer's parameters that are no part of what it trains.

    They belong to no module that ran and went into no operation; or a parameter of the same name (or shape, where it had been trained) stands in their place since.
    """
    # What initialised the old tensor, or read it without a graph to put another in its place, is no use.
    used = {
        operand.parameter
        for op in observation.ops
        if (op.grad and not op.inplace) or op.module >= 0 or op.step > 0
        for operand in op.inputs
        if operand.parameter >= 0
    }
    never = [
        uid for uid in optimizer.parameters if observation.parameters[uid].module < 0 and uid not in used
    ]
    return (
        never or replaced(observation, optimizer) or [old for old, _ in successions(observation, optimizer)]
    )


def successions(observation: Observation, optimizer: Optimizer) -> list[tuple[int, int]]:
    """Returns pairs of a parameter that lost its gradient for good, and of the later one that gets it in its place."""
    steps = [step for step in observation.steps if step.optimizer == optimizer.uid and step.sampled]
    if len(steps) < 3:
        return []
    idle, stateful = set(steps[-1].none_uids), set(steps[-1].none_stateful)
    if not idle:
        return []
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for record in observation.backwards:
        for name, size in record.gradients.items():
            if size != 0:
                first.setdefault(int(name), record.order)
                last[int(name)] = record.order
    optimized = observation.optimized()
    updated = {  # what was changed before it had a gradient was only being initialised
        event.detail["parameter"]
        for event in observation.of_kind("manual_update")
        if event.order > first.get(event.detail["parameter"], event.order)
    }
    new = [
        entry
        for entry in observation.parameters
        if entry.uid in first
        and entry.uid not in optimized | updated
        and entry.trainable
        and not entry.buffer
        and last[entry.uid] > steps[-2].order  # still, at the end
    ]
    found = []
    for old in sorted(idle & set(last)):
        for entry in new:
            known = observation.parameters[old]
            same = old in stateful and entry.shape == known.shape
            if known.name and known.name == entry.name and known.module >= 0 and entry.module >= 0:
                same = same or _root(observation, old) == _root(observation, entry.uid)
            if same and first[entry.uid] > last[old]:
                found.append((old, entry.uid))
                new.remove(entry)
                break
    return found


def replaced(observation: Observation, optimizer: Optimizer) -> list[int]:
    """Returns those of an optimizer's parameters that got no gradient at its steps, while one in their place got one."""
    steps = [step for step in observation.steps if step.optimizer == optimizer.uid]
    if not steps:
        return []
    without = set.intersection(*(set(step.none_uids) for step in steps))
    if not without:
        return []
    names = {(_root(observation, uid), observation.parameters[uid].name) for uid in orphans(observation)}
    return [
        uid
        for uid in optimizer.parameters
        if uid in without
        and observation.parameters[uid].module >= 0
        and (_root(observation, uid), observation.parameters[uid].name) in names
    ]


def _root(observation: Observation, uid: int) -> int:
    return observation.modules[observation.parameters[uid].module].root


def orphans(observation: Observation) -> list[int]:
    """Returns the trainable parameters of modules that got a gradient and are in no optimizer."""
    optimized = observation.optimized()
    graded: dict[int, int] = {}  # uid -> order of the first backward that gave it a gradient
    for record in observation.backwards:
        for uid, size in record.gradients.items():
            if size != 0:
                graded.setdefault(int(uid), record.order)
    updated = {  # by hand; what was changed before it had a gradient was only being initialised
        event.detail["parameter"]
        for event in observation.of_kind("manual_update")
        if event.order > graded.get(event.detail["parameter"], event.order)
    }
    return [
        entry.uid
        for entry in observation.parameters
        if entry.uid in graded
        and entry.uid not in optimized
        and entry.uid not in updated
        and entry.trainable
        and not entry.buffer
        and entry.module >= 0
    ]


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.steps:
        raise NotObserved("no optimizer step was seen")
    if any(strangers(observation, entry) for entry in observation.optimizers):
        return  # NW506 names the cause
    if all(step.held == 0 for step in observation.steps):
        return  # NW507 names the cause
    optimized = observation.optimized()
    lost = []
    for uid in orphans(observation):
        module = observation.modules[observation.parameters[uid].module]
        root = observation.modules[module.root]
        family = {entry for part in observation.modules if part.root == root.uid for entry in part.parameters}
        forwards = [record for record in observation.forwards if record.module == root.uid]
        if not family & optimized and forwards and not any(record.training for record in forwards):
            continue
        lost.append((uid, module))
    if not lost:
        return
    names = [observation.parameters[uid].name for uid, _ in lost]
    total = sum(_size(observation.parameters[uid].shape) for uid, _ in lost)
    first = lost[0][1]
    optimizer = observation.optimizers[observation.steps[-1].optimizer]
    lost_uids = {str(uid) for uid, _ in lost}
    since = next(
        record for record in observation.backwards if any(record.gradients.get(uid, 0) for uid in lost_uids)
    )
    if since.step <= observation.steps[0].step:
        optimizer = observation.optimizers[observation.steps[0].optimizer]
    yield evidence(
        observation,
        optimizer.place or optimizer.step_place,
        seen={"not_optimized": len(lost), "numbers": total, "first": names[0]},
        expected={"not_optimized": 0},
        layer=first.uid,
        step=since.step,
        title=f"{len(lost)} parameter(s) get gradients but are in no optimizer: {', '.join(names[:3])}"
        + (", ..." if len(names) > 3 else ""),
    )


def _size(shape: tuple[int, ...]) -> int:
    from math import prod

    return prod(shape)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
encoder, decoder = nn.Sequential(nn.Linear(20, 16), nn.ReLU()), nn.Linear(16, 4)
{freeze}optimizer = torch.optim.Adam({parameters}, lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(decoder(encoder(inputs)), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{freeze}", "").replace("{parameters}", "decoder.parameters()")
good = _PROGRAM.replace("{freeze}", "").replace(
    "{parameters}", "[*encoder.parameters(), *decoder.parameters()]"
)
near_miss = _PROGRAM.replace("{freeze}", "encoder.requires_grad_(False)\n").replace(
    "{parameters}", "decoder.parameters()"
)
