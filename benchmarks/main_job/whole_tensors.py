"""The loop of people who know: the whole set as one float tensor, indexed by a permutation."""

import gzip
import json
import os
import pathlib
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

epochs = int(sys.argv[1])
torch.manual_seed(0)

folder = pathlib.Path(os.environ["NETWRIGHT_DATA"]) / "mnist"
images = np.frombuffer(
    gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
)
labels = np.frombuffer(
    gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
)
x_all = torch.tensor(images).reshape(-1, 784).float().div_(255).sub_(0.1307).div_(0.3081)
y_all = torch.tensor(labels).long()
x_train, y_train, x_validation, y_validation = x_all[:54_000], y_all[:54_000], x_all[54_000:], y_all[54_000:]

network = nn.Sequential(
    nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
)
loss_function = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

seconds = []
for _ in range(epochs):
    began = time.perf_counter()
    network.train()
    order = torch.randperm(len(x_train))
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        optimizer.zero_grad()
        loss = loss_function(network(x_train[rows]), y_train[rows])
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        correct = (network(x_validation).argmax(1) == y_validation).sum().item()
    seconds.append(time.perf_counter() - began)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": seconds, "accuracy": correct / 6_000, "peak_mb": peak}))
