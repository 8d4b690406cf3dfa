"""NW802: eval() once, then training goes on in eval mode."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Event, Forward, Observation, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW802",
    slug="train-mode-not-restored",
    level="error",
    by="the next step",
    title="training goes on in evaluation mode after the first evaluation",
    what="The network was put into evaluation mode for an evaluation and not back; from then on it is trained without dropout "
    "and with frozen batch norm statistics.",
    why="The first epoch trains another network than the rest: regularisation is off, and batch norm keeps the statistics of "
    "the first epoch while the weights move away from them.",
    fix="Call model.train() at the beginning of every epoch.",
    example="for epoch in range(9):\n    train_epoch(net)     # wrong: still in eval mode from the second epoch on\n"
    "    net.eval(); evaluate(net)\n\nfor epoch in range(9):\n    net.train()          # right\n    train_epoch(net)",
    limits="Needs an evaluation between eval() and the training step. Batch norm frozen on purpose, while the network as a whole "
    "is in training mode, is no fault; neither is a network without dropout and batch norm.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.evaluations:
        raise NotObserved("no evaluation was seen")
    for forward in observation.forwards:
        if not (
            forward.grad_enabled and forward.followed and not forward.training and forward.modal_evaluating
        ):
            continue
        if forward.modal_training:
            continue
        switched = _switched(observation, forward)
        if switched is None:
            continue
        yield evidence(
            observation,
            switched,
            seen={
                "training": False,
                "layers_in_evaluation_mode": forward.modal_evaluating,
                "trained_at": forward.place,
            },
            expected={"training": True},
            also=[forward.place],
            layer=forward.module,
            step=forward.step,
        )
        return


def _switched(observation: Observation, forward: Forward) -> Place | None:
    """Returns the line that put the network into evaluation mode for an evaluation, None if it was no such case."""
    last: list[Event] = []  # the calls of eval() since train() was called, the latest first
    for event in reversed(list(observation.of_kind("eval", "train"))):
        if event.order < forward.order and event.detail.get("module") == forward.module:
            if event.kind != "eval":
                break
            last.append(event)
    for event in last:
        earlier = any(
            entry.module == forward.module and entry.followed and entry.training and entry.order < event.order
            for entry in observation.forwards
        )
        between = any(
            forward.module in entry.modules and event.order < entry.order < forward.order
            for entry in observation.evaluations
        )
        if earlier and between:
            return event.place
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
held_out, answers = torch.randn(64, 20), torch.randint(0, 4, (64,))
network = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(3):
    {train}
    for start in range(0, 128, 32):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32])
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        print(epoch, (network(held_out).argmax(1) == answers).float().mean().item())
"""
bad = _PROGRAM.replace("{train}", "total = 0.0")
good = _PROGRAM.replace("{train}", "network.train()")
near_miss = _PROGRAM.replace("{train}", "network.train()\n    network[1].eval()  # batch norm stays as it is")
