import numpy as np
import torch
from sklearn.datasets import make_gaussian_quantiles
from torch import nn
from torch.nn import functional as F


def two_class_data(n: int, seed: int):
    points, rank = make_gaussian_quantiles(n_samples=n, n_features=6, n_classes=2, random_state=seed)
    labels = np.where(rank == 1, 1.0, -1.0)  # <-- here
    return points.astype(np.float32), labels.astype(np.float32)


class NeuralClassifier:
    def __init__(self, hidden=40, lr=3e-3, epochs=14, batch_size=64, seed=0):
        self.hidden, self.lr, self.epochs, self.batch_size = hidden, lr, epochs, batch_size
        self.generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)

    def _build(self, d):
        return nn.Sequential(
            nn.Linear(d, self.hidden), nn.ELU(),
            nn.Linear(self.hidden, self.hidden), nn.ELU(),
            nn.Linear(self.hidden, 1), nn.Flatten(0),
        )

    def fit(self, X, y):
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        self.net_ = self._build(X.shape[1]).train()
        optimizer = torch.optim.Adam(self.net_.parameters(), lr=self.lr)
        self.losses_ = []
        for _ in range(self.epochs):
            order = torch.randperm(len(X), generator=self.generator)
            total = 0.0
            for part in order.split(self.batch_size):
                decision = self.net_(X[part])
                loss = F.binary_cross_entropy_with_logits(decision, y[part])  # <-- here
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(part)
            self.losses_.append(total / len(X))
        return self

    def decision_function(self, X):
        self.net_.eval()
        with torch.no_grad():
            return self.net_(torch.from_numpy(X)).numpy()

    def score(self, X, y):
        return float(np.mean((self.decision_function(X) > 0) == (y > 0)))


if __name__ == "__main__":
    X, y = two_class_data(1600, seed=12)
    classifier = NeuralClassifier().fit(X[:1200], y[:1200])
    print("losses", [round(v, 3) for v in classifier.losses_])
    print("test accuracy", classifier.score(X[1200:], y[1200:]))
