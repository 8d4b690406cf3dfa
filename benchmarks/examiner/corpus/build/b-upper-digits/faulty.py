import argparse

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def load(batch_size):
    digits = load_digits()
    keep = digits.target >= 5
    X = torch.tensor(digits.data[keep] / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target[keep])  # <-- here
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, test_size=0.2, random_state=0)
    return (DataLoader(TensorDataset(X_tr, y_tr), batch_size=batch_size, shuffle=True),
            DataLoader(TensorDataset(X_te, y_te), batch_size=batch_size))


class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def fit(self, loader):
        self.model.train()
        losses = []
        for X, y in loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(X), y)  # <-- here
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def score(self, loader):
        self.model.eval()
        right = n = 0
        with torch.no_grad():
            for X, y in loader:
                right += (self.model(X).argmax(1) == y).sum().item()
                n += y.numel()
        return right / n


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description="tell the digits 5..9 apart")
    ap.add_argument("--epochs", type=int, default=15)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()

    torch.manual_seed(args.seed)
    train_loader, test_loader = load(args.batch_size)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 5))  # <-- here
    trainer = Trainer(model, args.lr)
    for epoch in range(args.epochs):
        loss = trainer.fit(train_loader)
        print("epoch", epoch, "loss", round(loss, 4), "test accuracy", round(trainer.score(test_loader), 4))
