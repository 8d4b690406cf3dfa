"""NW113: padded positions count in the token loss."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Loss, Observation
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.examine.rules.origins import chain
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW113",
    slug="padding-counted-in-loss",
    level="warning",
    by="100",
    title="padded positions are counted in the loss",
    what="The sequences of a batch are filled up to one length, and the loss counts the filled positions as if they were tokens.",
    why="Padding is trivial to predict. The loss looks better than it is, its mean depends on how unequal the lengths are, and "
    "much of the gradient teaches the network to say 'padding'.",
    fix="Give the loss ignore_index=<the id of the padding>, or multiply by the mask before taking the mean.",
    example="F.cross_entropy(logits.flatten(0, 1), ids.flatten())                   # wrong with padded rows\n"
    "F.cross_entropy(logits.flatten(0, 1), ids.flatten(), ignore_index=0)   # right",
    limits="The padding id is the one that stands at the end of most rows and hardly anywhere else, in at least 20 % of the "
    "positions (10 % if an embedding names it as padding_idx). Silent where the loss has class weights or is not reduced.",
    explains=frozenset({"NW208"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    seen = False
    named = {
        module.config["padding_idx"]
        for module in observation.modules
        if module.cls in ("Embedding", "EmbeddingBag") and isinstance(module.config.get("padding_idx"), int)
    }
    groups: dict[object, list[tuple[Loss, int, tuple[list[int], ...]]]] = {}
    for loss in observation.losses:
        if loss.function not in ("cross_entropy", "nll_loss") or not loss.labels or not loss.prediction_grad:
            continue
        length = _length(observation, loss)
        if length < 2 or loss.options.get("weight") == "given" or loss.options.get("reduction") == "none":
            continue
        rows = [
            loss.labels[start : start + length] for start in range(0, len(loss.labels) - length + 1, length)
        ]
        seen = True
        if len(rows) >= 2:
            groups.setdefault(loss.place, []).append((loss, length, tuple(rows)))
    if not seen:
        raise NotObserved("no loss over tokens of sequences was seen")
    for group in groups.values():
        yield from _judge(observation, group, named)


def _length(observation: Observation, loss: Loss) -> int:
    """Returns the length of a row of targets of shape (B, T), also where they were made flat before; 0 if unknown."""
    if len(loss.target_shape) == 2:
        return loss.target_shape[1]
    target = observation.operand(observation.ops[loss.op], "target") if loss.op >= 0 else None
    if target is None or len(loss.target_shape) != 1:
        return 0
    for op in chain(observation, target):
        shape = op.inputs[0].shape if op.inputs else ()
        if op.name in ("view", "reshape", "flatten", "contiguous") and len(shape) == 2:
            return shape[1] if shape[0] * shape[1] == loss.target_shape[0] else 0
    return 0


def _judge(
    observation: Observation, group: list[tuple[Loss, int, tuple[list[int], ...]]], named: set[int]
) -> Iterator[Evidence]:
    loss, length, _ = group[0]
    rows = [row for _, _, found in group for row in found]
    ends = [row[-1] for row in rows]
    for padding in sorted(set(ends), key=ends.count, reverse=True)[:3]:
        if padding == loss.options.get("ignore_index", -100) or padding < 0:
            continue
        runs = [_run(row, padding) for row in rows]
        everywhere = sum(row.count(padding) for row in rows)
        share = everywhere / sum(len(row) for row in rows)
        known = padding in named
        if share < (0.1 if known else 0.2) or sum(runs) < 0.95 * everywhere:
            continue
        long = sum(run >= 2 for run in runs)
        if (
            long < (0.25 if known else 0.4) * len(rows)
            or len(set(runs)) < 3
            or runs.count(length) > len(rows) / 4
        ):
            continue
        yield evidence(
            observation,
            loss.place,
            seen={
                "share_of_padding": round(share, 4),
                "padding_id": padding,
                "rows_that_end_in_it": len(rows) - runs.count(0),
            },
            expected={"share_of_padding": 0.0, "ignore_index": padding},
            layer=-1,
            step=loss.step,
            title=f"{percent(share)} of the positions in the loss are padding (id {padding})",
            fix=f"Give the loss ignore_index={padding}, or multiply by the mask before taking the mean.",
            fact="proved" if known else "likely",
            harm="measured",
        )
        return


def _run(row: list[int], padding: int) -> int:
    """Returns how many ids at the end of a row are padding.

    >>> _run([5, 0, 7, 0, 0], 0)
    2
    """
    return next((number for number, entry in enumerate(reversed(row)) if entry != padding), len(row))


_PROGRAM = """
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

torch.manual_seed(0)
lengths = torch.randint(3, 21, (120,)).tolist()
sentences = [torch.randint(1, 30, (length + 1,)) for length in lengths]
tokens = pad_sequence(sentences, batch_first=True, padding_value=0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, 16)
        self.rnn = nn.GRU(16, 24, batch_first=True)
        self.out = nn.Linear(24, 30)

    def forward(self, ids):
        return self.out(self.rnn(self.embedding(ids))[0])


model = Model()
criterion = nn.CrossEntropyLoss({ignore})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for epoch in range(2):
    for start in range(0, 120, 24):
        batch = tokens[start : start + 24]
        logits = model(batch[:, :-1])
        loss = criterion(logits.reshape(-1, 30), batch[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{ignore}", "")
good = _PROGRAM.replace("{ignore}", "ignore_index=0")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
words = torch.randint(1, 40, (96, 12))
tags = torch.where(words < 30, 0, words % 4)  # most words carry no tag: 0
tags[:, -1] = torch.where(words[:, -1] < 38, 0, 1)
model = nn.Sequential(nn.Embedding(40, 16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(12):
    logits = model(words)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), tags.flatten())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
