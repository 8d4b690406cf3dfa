"""NW901: the program waits for its data."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Loader, Observation
from netwright.examine.rules import NotObserved, closing, evidence, percent, rewrite
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW901",
    slug="loader-bound",
    level="advice",
    by="100",
    title="the program waits for data a large part of the time",
    what="Much of the time of a training step goes by in the data loader, while the network has nothing to do.",
    why="The loader reads, decodes and augments one example after another in the same process. The network, or the GPU, stands "
    "still meanwhile: training takes longer than it needs to.",
    fix="Let other processes make the batches: num_workers=4 (up to the number of CPU cores), persistent_workers=True. Data that "
    "are in memory as tensors are fastest without a DataLoader: index whole batches.",
    example="DataLoader(images, batch_size=64, shuffle=True)                       # wrong where decoding is slow\n"
    "DataLoader(images, batch_size=64, shuffle=True, num_workers=4, persistent_workers=True)\n"
    "for part in torch.randperm(len(x)).split(64): step(x[part], y[part])  # tensors in memory",
    limits="Measures PyTorch's DataLoader after the first 20 steps, without the first batch of each pass. On a GPU the time of a "
    "step is that until the work is queued, so waiting is overstated unless the program reads the loss.",
)
_SHARE = 0.3
_FEW = 20  # batches in the steady state
_MILLISECONDS = 1.0  # less a batch is not worth a change,
_SECONDS = 2.0  # unless it has come to this


def check(observation: Observation) -> Iterator[Evidence]:
    loaders = [loader for loader in observation.loaders if loader.trained > loader.batches / 2]
    if not loaders:
        raise NotObserved("no DataLoader was trained from")
    steady = [loader for loader in loaders if loader.waited_batches >= _FEW and loader.spanned > 0]
    if not steady:
        raise NotObserved(f"fewer than {_FEW} batches after the first steps")
    for loader in steady:
        share = loader.waited / loader.spanned
        each = 1000 * loader.waited / loader.waited_batches
        if share > _SHARE and (each >= _MILLISECONDS or loader.waited >= _SECONDS):
            yield _evidence(observation, loader, share, each)
            return


def _evidence(observation: Observation, loader: Loader, share: float, each: float) -> Evidence:
    place = loader.built or loader.place
    fix = ""
    if loader.dataset == "TensorDataset":
        fix = (
            "The data are tensors in memory: index a batch at a time (x[part], with part from torch.randperm(len(x)).split(64)) "
            "instead of collecting single examples."
        )
    elif loader.workers:
        fix = (
            f"{loader.workers} worker(s) are not enough: raise num_workers up to the number of CPU cores, keep them with "
            "persistent_workers=True, store decoded or smaller examples, or do cheaper augmentation."
        )
    return evidence(
        observation,
        place,
        seen={
            "waiting_share": round(share, 3),
            "milliseconds_a_batch": round(each, 2),
            "num_workers": loader.workers,
        },
        expected={"waiting_share": f"under {percent(_SHARE)}"},
        step=0,
        title=f"{percent(share)} of the time goes into waiting for data, {each:.1f} ms a batch",
        fix=fix,
        diff="" if fix else rewrite(place, _with_workers),
        harm="measured",
    )


def _with_workers(line: str) -> str | None:
    """Returns a line with workers for its DataLoader.

    >>> _with_workers("loader = DataLoader(data, batch_size=8)")
    'loader = DataLoader(data, batch_size=8, num_workers=4, persistent_workers=True)'
    """
    start = line.find("DataLoader(")
    if start < 0 or "num_workers" in line:
        return None
    closed = closing(line, start + len("DataLoader"))
    if closed < 0:
        return None
    return f"{line[:closed].rstrip(', ')}, num_workers=4, persistent_workers=True{line[closed:]}"


_PROGRAM = """
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Recordings(Dataset):
    def __init__(self):
        self.waves, self.labels = torch.randn(160, 64), torch.randint(0, 3, (160,))

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, index):
        {decode}
        return self.waves[index], self.labels[index]


loader = DataLoader(Recordings(), batch_size=4, shuffle=True)
network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    for waves, labels in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(waves), labels).backward()
        optimizer.step()
"""
bad = _PROGRAM.replace("{decode}", "time.sleep(0.01)  # reads and decodes a file")
good = _PROGRAM.replace("{decode}", "pass").replace(
    "        optimizer.step()", "        optimizer.step()\n        time.sleep(0.02)"
)
near_miss = """
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs, labels = torch.randn(320, 64), torch.randint(0, 3, (320,))


def collate(examples):
    global warm
    if not warm:
        warm = time.sleep(0.3) is None  # opens the files
    return torch.stack([x for x, _ in examples]), torch.stack([y for _, y in examples])


warm = False
loader = DataLoader(TensorDataset(inputs, labels), batch_size=8, shuffle=True, collate_fn=collate)
network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
        time.sleep(0.015)  # a larger network
"""
