"""NW801: evaluation with dropout or batch norm in training mode."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Evaluation, Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW801",
    slug="eval-mode-missing",
    level="error",
    by="epoch",
    title="evaluation runs in training mode: dropout drops, batch norm learns from the test data",
    what="Outputs are compared with labels without gradients being recorded, while dropout or batch norm layers are in "
    "training mode.",
    why="The score is that of a damaged network: dropout removes units at random, batch norm uses the statistics of the test "
    "batch and mixes them into those that the network keeps.",
    fix="Call model.eval() before the evaluation and model.train() after it.",
    example="with torch.no_grad(): score(net(x), y)                            # wrong\n"
    "net.eval()\nwith torch.no_grad(): score(net(x), y)\nnet.train()             # right",
    limits="Silent on networks with neither layer, where the outputs are compared with nothing (recalibrating batch norm), "
    "and where the same examples run several times (Monte Carlo dropout). Needs no_grad or inference_mode around it.",
    explains=frozenset({"NW209", "NW306", "NW212"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.evaluations:
        raise NotObserved("no evaluation was seen")
    for seen in observation.evaluations:
        if not seen.modal_training or not seen.complete:
            continue
        exported = not seen.compared and _scored_outside(observation, seen)
        if not (seen.compared or exported):
            continue
        if seen.modal_evaluating and not _one_forgotten(observation, seen):
            continue
        if _repeated(observation, seen.order):
            continue
        layers = [observation.modules[uid] for uid in seen.modal_training]
        yield evidence(
            observation,
            seen.place,
            seen={"layers_in_training_mode": len(layers), "kinds": sorted({layer.cls for layer in layers})},
            expected={"layers_in_training_mode": 0},
            also=[
                seen.compared_place,
                next((one.caller for one in observation.passes if one.place == seen.place), None),
            ],
            layer=layers[0].uid,
            step=seen.step,
            level="warning" if exported else "",
            fact="likely" if exported else "proved",
            title=f"evaluation runs with {len(layers)} dropout or batch norm layer(s) in training mode",
        )
        return


def _scored_outside(observation: Observation, seen: Evaluation) -> bool:
    """Returns whether whole outputs went to NumPy or lists, for examples that are never trained on and come again and again.

    What is done with them there is not seen: a metric most likely, and neither sampling nor a collected experience.
    """
    if not seen.exported or len(observation.evaluations) < 2:
        return False
    left = any(
        op.name in ("numpy", "tolist")
        and op.order > seen.order
        and op.step == seen.step
        and len(op.inputs[0].shape) > 0
        for op in observation.ops
        if op.inputs and op.inputs[0].op >= 0 and observation.ops[op.inputs[0].op].order > seen.order
    )
    same = [entry for entry in observation.forwards if entry.module in seen.modules and entry.examples]
    trained = {uid for entry in same if entry.grad_enabled for uid in entry.examples}
    judged = [tuple(entry.examples) for entry in same if not entry.grad_enabled]
    firsts = [entry for entry in judged if entry == judged[0]]
    return left and len(firsts) >= 2 and len(judged[0]) >= 16 and not trained & set(judged[0])


def _one_forgotten(observation: Observation, seen: Evaluation) -> bool:
    """Returns whether several trained networks were evaluated, alike but for the mode: one was told eval(), one was not."""
    modules, optimized = observation.modules, observation.optimized()
    training = {modules[uid].root for uid in seen.modal_training}
    evaluating = {modules[uid].root for uid in seen.modal_evaluating}
    if training & evaluating or not {modules[uid].cls for uid in training} <= {
        modules[uid].cls for uid in evaluating
    }:
        return False
    trained = {entry.root for entry in modules if any(uid in optimized for uid in entry.parameters)}
    told = {event.detail.get("module") for event in observation.of_kind("eval")}
    return training | evaluating <= trained and not training & told


def _repeated(observation: Observation, order: int) -> bool:
    """Returns whether the same examples ran more than once in an evaluation."""
    batches = [
        (entry.module, *entry.examples)
        for entry in observation.forwards
        if not entry.grad_enabled and entry.order >= order
    ]
    batches = [batch for batch in batches[:50] if len(batch) > 1]
    return len(set(batches)) < len(batches)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
held_out, answers = torch.randn(64, 20), torch.randint(0, 4, (64,))
network = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    network.train()
    for start in range(0, 128, 32):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32])
        loss.backward()
        optimizer.step()
    {mode}
    with torch.no_grad():
{evaluation}
"""
_SCORE = "        print(epoch, (network(held_out).argmax(1) == answers).float().mean().item())"
bad = _PROGRAM.replace("{mode}", "correct = 0").replace("{evaluation}", _SCORE)
good = _PROGRAM.replace("{mode}", "network.eval()").replace("{evaluation}", _SCORE)
near_miss = _PROGRAM.replace("{mode}", "draws = []  # Monte Carlo dropout").replace(
    "{evaluation}",
    "        for _ in range(5):\n            draws.append(network(held_out).softmax(1))\n"
    "        print(epoch, (torch.stack(draws).mean(0).argmax(1) == answers).float().mean().item())",
)
