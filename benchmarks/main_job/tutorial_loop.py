"""The loop of the tutorials: torchvision's MNIST, ToTensor, DataLoader. Needs an environment with torchvision."""

import gzip
import json
import os
import pathlib
import resource
import sys
import time

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets
from torchvision.transforms import ToTensor

epochs = int(sys.argv[1])
torch.manual_seed(0)

# torchvision looks for unpacked files in <root>/MNIST/raw; they are the ones that netwright reads.
root = pathlib.Path(sys.argv[2])
raw = root / "MNIST" / "raw"
if not raw.exists():
    raw.mkdir(parents=True)
    for packed in (pathlib.Path(os.environ["NETWRIGHT_DATA"]) / "mnist").glob("*.gz"):
        (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
whole = datasets.MNIST(root, train=True, transform=ToTensor())
train = DataLoader(Subset(whole, range(54_000)), batch_size=64, shuffle=True)
validation = DataLoader(Subset(whole, range(54_000, 60_000)), batch_size=64)

network = nn.Sequential(
    nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
)
loss_function = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

seconds = []
for _ in range(epochs):
    began = time.perf_counter()
    network.train()
    for x, y in train:
        loss = loss_function(network(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    correct = 0
    with torch.no_grad():
        for x, y in validation:
            correct += (network(x).argmax(1) == y).sum().item()
    seconds.append(time.perf_counter() - began)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "accuracy": correct / 6_000, "peak_mb": peak}))
