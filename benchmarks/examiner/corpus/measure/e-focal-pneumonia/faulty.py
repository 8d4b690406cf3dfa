import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, class_weight=None):
        super().__init__()
        self.gamma = gamma
        self.class_weight = class_weight

    def forward(self, logits, labels):
        log_p = torch.log_softmax(logits, dim=1)
        losses = []
        for row, label in zip(log_p, labels):
            ce = -row[label]
            factor = (1 - torch.exp(-ce)) ** self.gamma
            if self.class_weight is not None:
                factor = factor * self.class_weight[label]
            losses.append(factor * ce)
        return torch.tensor(losses, requires_grad=True).mean()  # <-- here


class XRayNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(16 * 49, 2)

    def forward(self, x):
        return self.classifier(self.body(x))


def load(split, limit):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "medmnist", "pneumoniamnist.npz")
    with np.load(path) as z:
        images = z[split + "_images"][:limit].astype(np.float32) / 255.0
        labels = z[split + "_labels"][:limit].ravel().astype(np.int64)
    images = (images - 0.57) / 0.17
    return TensorDataset(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels))


def score(net, loader):
    net.eval()
    per_class = torch.zeros(2, 2)
    with torch.no_grad():
        for x, y in loader:
            guess = net(x).argmax(dim=1)
            for t, p in zip(y, guess):
                per_class[t, p] += 1
    recall = per_class.diag() / per_class.sum(1)
    return recall.mean().item()


def main():
    torch.manual_seed(8)
    train_loader = DataLoader(load("train", 1800), batch_size=32, shuffle=True)
    val_loader = DataLoader(load("val", 524), batch_size=128)
    net = XRayNet()
    loss_fn = FocalLoss(gamma=1.0, class_weight=torch.tensor([1.5, 0.7]))
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(3):
        net.train()
        summed, n = 0.0, 0
        for x, y in train_loader:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            summed += loss.item() * len(y)
            n += len(y)
        print(f"epoch {epoch}: focal loss {summed / n:.4f}, balanced accuracy {score(net, val_loader):.3f}")


if __name__ == "__main__":
    main()
