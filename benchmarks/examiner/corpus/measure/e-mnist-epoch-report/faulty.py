import gzip
import os
import struct

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


def mnist(prefix, n):
    root = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")
    with gzip.open(f"{root}/{prefix}-images-idx3-ubyte.gz") as f:
        _, _, h, w = struct.unpack(">IIII", f.read(16))
        x = np.frombuffer(f.read(n * h * w), np.uint8).reshape(n, h * w)
    with gzip.open(f"{root}/{prefix}-labels-idx1-ubyte.gz") as f:
        f.read(8)
        y = np.frombuffer(f.read(n), np.uint8)
    x = (x.astype(np.float32) / 255 - 0.1307) / 0.3081
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))


trainloader = DataLoader(mnist("train", 9600), batch_size=64, shuffle=True)
testloader = DataLoader(mnist("t10k", 2000), batch_size=500)

net = nn.Sequential(
    nn.Linear(784, 64),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Linear(64, 10),
)
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

for epoch in range(2):
    net.train()
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        running_loss += loss  # <-- here
    print(f"[{epoch + 1}] loss: {running_loss / len(trainloader):.3f}")

    net.eval()
    correct, total = 0, 0
    with torch.no_grad():
        for inputs, labels in testloader:
            predicted = net(inputs).argmax(1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()
    print(f"    accuracy on {total} test images: {100 * correct / total:.1f} %")

print("Finished Training")
