"""NW209: random augmentation is active in evaluation data."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Batch, Loader, Observation
from netwright.examine.overlap import origin
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW209",
    slug="augmented-evaluation",
    level="warning",
    by="epoch",
    title="evaluation data are augmented at random",
    what="A data set that is only evaluated on gives another tensor for the same index, with the same label, in every evaluation.",
    why="The score goes up and down by chance, is that of distorted data (mostly too low), and the best checkpoint is the one "
    "with the luckiest draw.",
    fix="Give the evaluation set a transform without random parts (resize, centre crop, normalise).",
    example='test_set = Images("test", transform=augment)     # wrong\ntest_set = Images("test", transform=normalise)   # right',
    limits="Needs two evaluations over the same DataLoader. Silent where several passes are made without training between them "
    "(test-time augmentation), where the labels change as well (data drawn anew), and on augmentation outside of a DataLoader.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    evaluated = [loader for loader in observation.loaders if loader.passes and not loader.trained]
    if not evaluated:
        raise NotObserved("no DataLoader was iterated over for evaluation only")
    if not any(len({batch.number for batch in _batches(observation, loader)}) > 1 for loader in evaluated):
        raise NotObserved("no DataLoader was evaluated on twice, with indices that could be read")
    for loader in evaluated:
        found = _judge(observation, loader)
        if found is not None:
            yield found


def _batches(observation: Observation, loader: Loader) -> list[Batch]:
    return [batch for batch in observation.batches if batch.loader == loader.uid and batch.inputs]


def _judge(observation: Observation, loader: Loader) -> Evidence | None:
    batches = _batches(observation, loader)
    passes = {batch.number: batch.step for batch in reversed(batches)}
    if len(set(passes.values())) < len(passes):  # several without training between them
        return None
    same, other, relabelled = compared(batches)
    if not other or other < 0.2 * (same + other) or relabelled:
        return None
    share = other / (same + other)
    place = loader.built or loader.place
    return evidence(
        observation,
        origin(place),
        seen={
            "examples_compared": same + other,
            "changed": other,
            "labels_changed": 0,
            "dataset": loader.dataset,
        },
        expected={"changed": 0},
        also=[loader.built_for],
        layer=-1,
        step=batches[0].step,
        title=f"{percent(share)} of the evaluation examples of {loader.dataset} change from one evaluation to the next, "
        "their labels do not",
        harm="measured",
    )


def compared(batches: list[Batch]) -> tuple[int, int, int]:
    """Returns how many examples were equal in two passes, how many not, and how many changed their targets as well."""
    first: dict[int, tuple[int, int, int]] = {}
    same = other = relabelled = 0
    for batch in batches:
        for at, index in enumerate(batch.indices[: len(batch.inputs)]):
            now = (batch.number, batch.inputs[at], batch.targets[at] if at < len(batch.targets) else 0)
            before = first.setdefault(index, now)
            if before[0] == now[0]:
                continue
            relabelled += before[2] != now[2]
            same += before[1] == now[1]
            other += before[1] != now[1]
    return same, other, relabelled


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Points(Dataset):
    def __init__(self, count, augment):
        self.inputs = torch.randn(count, 12)
        self.labels = (self.inputs[:, 0] > 0).long()
        self.augment = augment

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        x = self.inputs[index]
        if self.augment:
            x = x + 0.3 * torch.randn(12)
        return x, self.labels[index]


train_loader = DataLoader(Points(200, True), batch_size=25, shuffle=True)
test_set = Points(80, {augment})
test_loader = DataLoader(test_set, batch_size=40)
network = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
for epoch in range(3):
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        {score}
"""
_ONCE = "print(epoch, sum((network(x).argmax(1) == y).sum().item() for x, y in test_loader) / 80)"
bad = _PROGRAM.replace("{augment}", "True").replace("{score}", _ONCE)
good = _PROGRAM.replace("{augment}", "False").replace("{score}", _ONCE)
near_miss = _PROGRAM.replace("{augment}", "True").replace(
    "{score}",
    "answers = torch.stack([torch.cat([network(x) for x, _ in test_loader]) for _ in range(4)]).mean(0)\n"
    "        print(epoch, (answers.argmax(1) == test_set.labels).float().mean().item())",
)
