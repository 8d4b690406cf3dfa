import gzip
import os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

root = os.environ["NETWRIGHT_DATA"]


def open_idx(part, offset, n_bytes):
    with gzip.open(os.path.join(root, "mnist", part + ".gz"), "rb") as stream:
        return np.frombuffer(stream.read(offset + n_bytes), dtype=np.uint8, offset=offset)


N, M = 3000, 1000
Xtr = torch.from_numpy(open_idx("train-images-idx3-ubyte", 16, N * 784).reshape(N, 784).astype(np.float32)) / 255
Ytr = torch.from_numpy(open_idx("train-labels-idx1-ubyte", 8, N).astype(np.int64))
Xte = torch.from_numpy(open_idx("t10k-images-idx3-ubyte", 16, M * 784).reshape(M, 784).astype(np.float32)) / 255
Yte = torch.from_numpy(open_idx("t10k-labels-idx1-ubyte", 8, M).astype(np.int64))

torch.manual_seed(10)


class Perceptron(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(784, 100)
        self.l2 = nn.Linear(100, 60)
        self.l3 = nn.Linear(60, 10)
        for layer in (self.l1, self.l2, self.l3):
            nn.init.normal_(layer.weight)  # <-- here
            nn.init.zeros_(layer.bias)

    def forward(self, x):
        x = F.relu(self.l1(x))
        x = F.relu(self.l2(x))
        return self.l3(x)


net = Perceptron()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

for epoch in range(6):
    permutation = torch.randperm(N)
    for i in range(0, N, 60):
        indices = permutation[i:i + 60]
        optimizer.zero_grad()
        loss = F.cross_entropy(net(Xtr[indices]), Ytr[indices])
        loss.backward()
        optimizer.step()
        if epoch == 0 and i == 0:
            print("first loss", loss.item())
    with torch.no_grad():
        logits = net(Xte)
        print("epoch", epoch + 1, "test loss", F.cross_entropy(logits, Yte).item(),
              "test acc", (logits.argmax(1) == Yte).float().mean().item())
