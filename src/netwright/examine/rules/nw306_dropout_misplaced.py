"""NW306: dropout on the logits, dropout that leaves almost nothing, or dropout that never stops."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from netwright.examine.observation import PASSIVE, Forward, Observation, Op
from netwright.examine.rules import NotObserved, evidence, percent, rewrite, without_call
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW306",
    slug="dropout-misplaced",
    level="warning",
    by="epoch",
    title="dropout where it does harm",
    what="Dropout stands on the output itself, or drops 80 % and more, or goes on in evaluation because F.dropout was not told "
    "of it.",
    why="On the logits it sets answers to 0 at random, so the loss measures noise. At 80 % and more little of the signal is left; "
    "often a share to keep was meant. In evaluation it makes the score lower and different at every call.",
    fix="Put dropout between hidden layers, with p of 0.1 to 0.5; use nn.Dropout, or F.dropout(x, p, training=self.training).",
    example="return F.dropout(self.head(x), 0.5)                                # wrong, twice\n"
    "return self.head(F.dropout(x, 0.5, training=self.training))        # right",
    limits="Dropout in evaluation is seen in the first batches of an evaluation with the network in eval mode; silent where the "
    "same examples run several times (Monte Carlo dropout). Silent on dropout of raw inputs and of weights.",
)
_KINDS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
HIGH = 0.8


def check(observation: Observation) -> Iterator[Evidence]:
    if not any(op.grad for op in observation.ops):
        raise NotObserved("no traced training step")
    yield from _on_the_output(observation)
    said: set[object] = set()
    for op in observation.ops:
        if op.name not in _KINDS or not op.inputs:
            continue
        if _share(op) >= HIGH and _active(op) and op.inputs[0].grad and op.inputs[0].source == "op":
            if op.grad_enabled and (op.module, op.place) not in said:
                said.add((op.module, op.place))
                yield _high(observation, op)
        elif not op.grad_enabled or not op.grad:
            found = _in_evaluation(observation, op)
            if found is not None and op.place not in said:
                said.add(op.place)
                yield found


def _share(op: Op) -> float:
    share = op.options.get("p", 0.5)
    return float(share) if isinstance(share, (int, float)) else 0.0


def _active(op: Op) -> bool:
    return op.options.get("training", True) is not False and _share(op) > 0


def _on_the_output(observation: Observation) -> Iterator[Evidence]:
    for loss, op in observation.loss_ops():
        if not loss.prediction_grad or not op.inputs:
            continue
        made = observation.made(op.inputs[0])
        while made is not None and made.name in PASSIVE and made.name not in _KINDS and made.inputs:
            made = observation.made(made.inputs[0])
        if made is None or made.name not in _KINDS or not _active(made) or not made.grad:
            continue
        before = observation.source(made.inputs[0])
        if before is None or not before.name.startswith(("linear", "conv", "matmul", "addmm")):
            continue
        share = _share(made)
        layer = made.module >= 0 and observation.modules[made.module].cls
        word = layer if layer and layer.endswith("Dropout") else made.name
        yield evidence(
            observation,
            made,
            seen={"dropped_share_of_outputs": share},
            expected={"dropped_share_of_outputs": 0.0},
            step=loss.step,
            title=f"dropout sets {percent(share)} of the outputs to 0 right before the loss",
            fix="Move the dropout before the last layer.",
            diff=rewrite(observation.where(made), partial(without_call, name=word)),
            harm="likely",
        )
        return


def _high(observation: Observation, op: Op) -> Evidence:
    share = _share(op)
    return evidence(
        observation,
        op,
        seen={"p": share},
        expected={"p": "0.1 to 0.5"},
        title=f"dropout with p={share:g} leaves {percent(1 - share)} of the values",
        fix=f"p is the share that is dropped; if {share:g} was meant to be kept, write p={1 - share:.2g}.",
        harm="likely",
    )


def _in_evaluation(observation: Observation, op: Op) -> Evidence | None:
    """Dropout at work in a network that is in eval mode."""
    own = observation.modules[op.module] if op.module >= 0 else None
    if (
        own is None
        or not _active(op)
        or own.cls in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")
    ):
        return None
    forward = next((entry for entry in reversed(observation.forwards) if entry.order < op.order), None)
    if (
        forward is None
        or forward.training
        or forward.followed
        or observation.modules[forward.module].root != own.root
    ):
        return None
    if _repeated(observation, forward):
        return None
    return evidence(
        observation,
        op.place,
        seen={"dropped_in_evaluation": _share(op)},
        expected={"dropped_in_evaluation": 0.0},
        layer=op.module,
        step=op.step,
        title=f"F.dropout goes on in evaluation: {percent(_share(op))} of the values are dropped though the network is in eval mode",
        fix="Pass training=self.training, or use an nn.Dropout layer.",
        diff=rewrite(op.place, _with_training),
        harm="likely",
    )


def _with_training(line: str) -> str | None:
    start = line.find("dropout(")
    if start < 0 or line.find("dropout(", start + 1) >= 0 or "self" not in line:
        return None
    if "training=True" in line:
        return line.replace("training=True", "training=self.training")
    depth = 0
    for index in range(start + len("dropout"), len(line)):
        depth += (line[index] in "([{") - (line[index] in ")]}")
        if depth == 0:
            return f"{line[:index]}, training=self.training{line[index:]}"
    return None


def _repeated(observation: Observation, forward: Forward) -> bool:
    """Returns whether the same examples ran more than once in a row of evaluations."""
    batches = [
        tuple(entry.examples)
        for entry in observation.forwards
        if entry.module == forward.module
        and entry.step == forward.step
        and not entry.training
        and entry.examples
    ]
    return len(set(batches)) < len(batches)


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
held_out, answers = torch.randn(64, 20), torch.randint(0, 4, (64,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(20, 64), nn.Linear(64, 4)

    def forward(self, x):
        x = F.relu(self.hidden(x))
        x = F.dropout(x, 0.3{training})
        return self.head(x)


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(4):
    network.train()
    for start in range(0, 128, 32):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32])
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        print(epoch, {score})
"""
_SCORE = "(network(held_out).argmax(1) == answers).float().mean().item()"
bad = _PROGRAM.replace("{training}", "").replace("{score}", _SCORE)
good = _PROGRAM.replace("{training}", ", training=self.training").replace("{score}", _SCORE)
near_miss = (
    _PROGRAM.replace("{training}", ", training=True  # drawn several times below")
    .replace(
        "{score}",
        "(sum(network(held_out).softmax(1) for draw in range(8)).argmax(1) == answers).float().mean().item()",
    )
    .replace(
        "0.3, training=True  # drawn several times below)", "0.3, training=True)  # drawn several times below"
    )
)
