"""Small residual network on 8x8 digits, every block starts as the identity."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(3)
np.random.seed(3)


class Block(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv1 = nn.Conv2d(ch, ch, 3, padding=1)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(self.act(self.conv1(self.act(x))))


class SmallResNet(nn.Module):
    def __init__(self, width=16, depth=4, n_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(depth)])
        self.head = nn.Linear(width * 16, n_classes)

    def forward(self, x):
        h = self.blocks(self.stem(x))
        h = nn.functional.avg_pool2d(torch.relu(h), 2)
        return self.head(h.flatten(1))


digits = load_digits()
X = (digits.images / 16.0).astype("float32")[:, None]
X_tr, X_te, y_tr, y_te = train_test_split(X, digits.target, test_size=0.25, stratify=digits.target, random_state=0)
X_tr, X_te, y_tr, y_te = map(torch.as_tensor, (X_tr, X_te, y_tr, y_te))

net = SmallResNet()
opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
criterion = nn.CrossEntropyLoss()

for epoch in range(8):
    net.train()
    perm = torch.randperm(len(X_tr))
    running = 0.0
    for idx in perm.split(64):
        loss = criterion(net(X_tr[idx]), y_tr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
        running += loss.item() * len(idx)
    net.eval()
    with torch.no_grad():
        acc = (net(X_te).argmax(1) == y_te).float().mean().item()
    print(f"epoch {epoch}: train loss {running / len(X_tr):.4f}  test acc {acc:.4f}")
