import argparse
import logging

import torch
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

logging.basicConfig(level=logging.INFO, format="%(message)s")
log = logging.getLogger("wdbc")


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=1e-7)  # <-- here
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    return parser.parse_args()


def loaders(batch):
    data = load_breast_cancer()
    x_tr, x_te, y_tr, y_te = train_test_split(
        data.data, data.target, test_size=0.3, random_state=7, stratify=data.target)
    scaler = StandardScaler().fit(x_tr)

    def wrap(x, y, shuffle):
        ds = TensorDataset(torch.tensor(scaler.transform(x), dtype=torch.float32),
                           torch.tensor(y, dtype=torch.float32))
        return DataLoader(ds, batch_size=batch, shuffle=shuffle)

    return wrap(x_tr, y_tr, True), wrap(x_te, y_te, False)


def accuracy(clf, loader):
    clf.eval()
    hits = n = 0
    with torch.no_grad():
        for x, y in loader:
            hits += ((clf(x).squeeze(1) > 0) == (y > 0.5)).sum().item()
            n += len(y)
    return hits / n


def main():
    args = parse()
    torch.manual_seed(3)
    train_loader, test_loader = loaders(args.batch)
    clf = torch.nn.Sequential(
        torch.nn.Linear(30, args.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(args.hidden, 1),
    )
    loss_fn = torch.nn.BCEWithLogitsLoss()
    optim = torch.optim.SGD(clf.parameters(), lr=args.lr, momentum=0.9)  # <-- here
    for epoch in range(args.epochs):
        clf.train()
        total = 0.0
        for x, y in train_loader:
            optim.zero_grad()
            loss = loss_fn(clf(x).squeeze(1), y)
            loss.backward()
            optim.step()
            total += loss.item() * len(x)
        log.info("epoch %2d  loss %.5f  test accuracy %.3f",
                 epoch, total / len(train_loader.dataset), accuracy(clf, test_loader))


if __name__ == "__main__":
    main()
