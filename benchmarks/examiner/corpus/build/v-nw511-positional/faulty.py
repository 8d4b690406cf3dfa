import argparse
import torch
from torch import nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def get_optimizer(name, params, lr, momentum, weight_decay):
    if name == "sgd":
        return torch.optim.SGD(params, lr, momentum=momentum, weight_decay=weight_decay)  # <-- here
    if name == "rmsprop":
        return torch.optim.RMSprop(params, lr, momentum=momentum, weight_decay=weight_decay)
    raise ValueError(name)


def get_data(batch_size):
    x, y = load_digits(return_X_y=True)
    xtr, xte, ytr, yte = train_test_split(x, y, test_size=0.25, random_state=0)
    mean, std = xtr.mean(), xtr.std()
    ds = [TensorDataset(torch.tensor((a - mean) / std).float(), torch.tensor(b)) for a, b in ((xtr, ytr), (xte, yte))]
    return DataLoader(ds[0], batch_size, shuffle=True), DataLoader(ds[1], 256)


class Net(nn.Module):
    def __init__(self, sizes=(64, 64, 32, 10)):
        super().__init__()
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in zip(sizes[:-2], sizes[1:-1]))
        self.logits = nn.Linear(*sizes[-2:])

    def forward(self, x):
        for layer in self.hidden:
            x = nn.functional.leaky_relu(layer(x), 0.05)
        return self.logits(x)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--opt", default="sgd")
    p.add_argument("--lr", type=float, default=0.03)
    p.add_argument("--momentum", type=float, default=0.9)
    p.add_argument("--wd", type=float, default=5e-4)
    p.add_argument("--epochs", type=int, default=7)
    args = p.parse_args()

    torch.manual_seed(1)
    train_loader, test_loader = get_data(48)
    net = Net()
    optimizer = get_optimizer(args.opt, net.parameters(), args.lr, args.wd, args.momentum)  # <-- here
    ce = nn.CrossEntropyLoss()
    for epoch in range(args.epochs):
        net.train()
        total = count = 0
        for x, y in train_loader:
            loss = ce(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(y)
            count += len(y)
        net.eval()
        good = 0
        with torch.no_grad():
            for x, y in test_loader:
                good += (net(x).argmax(1) == y).sum().item()
        norm = sum(w.norm().item() ** 2 for w in net.parameters()) ** 0.5
        print(f"epoch {epoch} loss {total / count:.4f} acc {good / len(test_loader.dataset):.4f} |w| {norm:.3f}")


if __name__ == "__main__":
    main()
