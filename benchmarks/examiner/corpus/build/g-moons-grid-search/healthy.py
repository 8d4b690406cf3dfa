import itertools
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons


def get_data():
    X, y = make_moons(n_samples=1500, noise=0.2, random_state=1)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    return (X[:900], y[:900]), (X[900:1200], y[900:1200]), (X[1200:], y[1200:])


class MLP(nn.Module):
    def __init__(self, hidden, depth, dropout):
        super().__init__()
        layers, d = [], 2
        for _ in range(depth):
            layers += [nn.Linear(d, hidden), nn.ReLU(), nn.Dropout(dropout)]
            d = hidden
        self.stack = nn.Sequential(*layers)
        self.classifier = nn.Linear(d, 2)

    def forward(self, x):
        return self.classifier(self.stack(x))


def accuracy(model, X, y):
    model.eval()
    with torch.no_grad():
        return (model(X).argmax(1) == y).float().mean().item()


def train(params, train_set, epochs=10):
    torch.manual_seed(0)
    X, y = train_set
    model = MLP(params["hidden"], params["depth"], params["dropout"])
    opt = torch.optim.Adam(model.parameters(), lr=params["lr"])
    for _ in range(epochs):
        model.train()
        for b in torch.randperm(len(X)).split(30):
            loss = F.cross_entropy(model(X[b]), y[b])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model


def main():
    train_set, val_set, test_set = get_data()
    grid = {"hidden": [16, 48], "depth": [1, 2], "dropout": [0.0, 0.1], "lr": [5e-3]}
    results = []
    for values in itertools.product(*grid.values()):
        params = dict(zip(grid, values))
        model = train(params, train_set)
        score = accuracy(model, *val_set)
        results.append((score, params, model))
        print(f"{score:.4f}  {params}")
    best_score, best_params, best_model = max(results, key=lambda r: r[0])
    print("best:", best_params, "val", round(best_score, 4), "test", round(accuracy(best_model, *test_set), 4))


if __name__ == "__main__":
    main()
