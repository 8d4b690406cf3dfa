"""NW907: the score of one process is reported as that of all the data."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW907",
    slug="unreduced-metric",
    level="warning",
    by="epoch",
    title="the score is that of one process's share of the test data, and no process hears of the others'",
    what="The evaluation's loader divides the examples among several processes (DistributedSampler), and nothing is exchanged "
    "between the processes before the score is reported.",
    why="Each process has seen a fraction of the test data. What process 0 prints is the score of its part, noisier than that of "
    "all and another one for every number of processes; early stopping and the choice of the best checkpoint may differ "
    "between the processes.",
    fix="Add up counts, not means, over all processes: t = torch.tensor([correct, total], device=device); dist.all_reduce(t); "
    "accuracy = t[0] / t[1]. Or let process 0 evaluate all the data without a DistributedSampler.",
    example="correct, total = evaluate(DataLoader(test, sampler=DistributedSampler(test)))   # wrong: of one process\n"
    "t = torch.tensor([correct, total]); dist.all_reduce(t)                          # right\n"
    "print((t[0] / t[1]).item())",
    limits="Sees PyTorch's DistributedSampler (or a sampler with num_replicas) and exchanges through torch.distributed, from the "
    "evaluation's first forward to the next backward. Silent where each evaluation reads all the data, and on training scores. "
    "An exchange through files or another library is not seen.",
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not any(loader.replicas > 1 for loader in observation.loaders):
        raise NotObserved("no data was divided among processes")
    seen = [
        entry for entry in observation.evaluations if entry.complete and (entry.compared or entry.exported)
    ]
    if not seen:
        raise NotObserved("no evaluation was seen")
    divided = [
        entry
        for entry in seen
        if entry.loader >= 0
        and observation.loaders[entry.loader].replicas > 1
        and observation.loaders[entry.loader].trained <= observation.loaders[entry.loader].batches / 2
    ]
    # Some programs look at a few batches by themselves; one exchange shows that they know.
    if not divided or any(entry.reduced for entry in divided):
        return
    loader = observation.loaders[divided[0].loader]
    yield evidence(
        observation,
        divided[0].compared_place or divided[0].place,
        seen={
            "processes": loader.replicas,
            "examples_of_this_process": -(-loader.examples // loader.replicas)
            if loader.examples > 0
            else "unknown",
            "exchanges_after_the_evaluation": 0,
        },
        expected={"exchanges_after_the_evaluation": "at least 1 (all_reduce of the counts)"},
        step=divided[0].step,
        title=f"the score is of 1/{loader.replicas} of the test data: the processes' counts are not added up",
        harm="likely",
    )


_PROGRAM = """
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

torch.manual_seed(0)
inputs, labels = torch.randn(128, 8), torch.randint(0, 3, (128,))
train, test = TensorDataset(inputs[:64], labels[:64]), TensorDataset(inputs[64:], labels[64:])
dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
sampler = DistributedSampler(train, num_replicas=2, rank=0)
loader = DataLoader(train, batch_size=16, sampler=sampler)
{evaluated}
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(2):
    sampler.set_epoch(epoch)
    network.train()
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    network.eval()
    counts = torch.zeros(2)
    with torch.no_grad():
        for x, y in held_out:
            counts += torch.tensor([(network(x).argmax(1) == y).sum().item(), len(y)])
    {reduced}
    print(epoch, (counts[0] / counts[1]).item())
dist.destroy_process_group()
"""
_DIVIDED = "held_out = DataLoader(test, batch_size=16, sampler=DistributedSampler(test, num_replicas=2, rank=0, shuffle=False))"
bad = _PROGRAM.replace("{evaluated}", _DIVIDED).replace("    {reduced}\n", "")
good = _PROGRAM.replace("{evaluated}", _DIVIDED).replace("{reduced}", "dist.all_reduce(counts)")
near_miss = _PROGRAM.replace(
    "{evaluated}", "held_out = DataLoader(test, batch_size=16)  # process 0 evaluates everything"
).replace("    {reduced}\n", "")
