import argparse

import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def get_loaders(batch_size):
    data = load_breast_cancer()
    x_tr, x_te, y_tr, y_te = train_test_split(
        data.data, data.target, test_size=0.25, random_state=7, stratify=data.target)
    scaler = StandardScaler().fit(x_tr)

    def pack(x, y):
        return TensorDataset(torch.tensor(scaler.transform(x), dtype=torch.float32),
                             torch.tensor(y, dtype=torch.float32).unsqueeze(1))

    return (DataLoader(pack(x_tr, y_tr), batch_size=batch_size, shuffle=True),
            DataLoader(pack(x_te, y_te), batch_size=128))


class Screening(nn.Module):
    def __init__(self, n_features, hidden):
        super().__init__()
        self.fc1 = nn.Linear(n_features, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        x = torch.relu(self.fc2(x))
        return self.out(x)


def train_one_epoch(model, loader, criterion, optimizer):
    model.train()
    seen, total = 0, 0.0
    optimizer.zero_grad()  # <-- here
    for xb, yb in loader:
        loss = criterion(model(xb), yb)
        loss.backward()  # <-- here
        optimizer.step()  # <-- here
        total += loss.item() * len(xb)
        seen += len(xb)
    return total / seen


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    correct, n = 0, 0
    for xb, yb in loader:
        pred = (model(xb) > 0).float()
        correct += (pred == yb).sum().item()
        n += yb.numel()
    return correct / n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--hidden", type=int, default=24)
    args = parser.parse_args()

    torch.manual_seed(3)
    train_loader, test_loader = get_loaders(args.batch_size)
    model = Screening(30, args.hidden)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    for epoch in range(args.epochs):
        loss = train_one_epoch(model, train_loader, criterion, optimizer)
        print(f"epoch {epoch + 1}: train loss {loss:.4f}  test acc {evaluate(model, test_loader):.3f}")


if __name__ == "__main__":
    main()
