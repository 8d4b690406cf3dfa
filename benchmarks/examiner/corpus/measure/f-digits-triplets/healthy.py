import random

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class TripletSampler:
    def __init__(self, x, y, rng):
        self.x, self.y, self.rng = x, y, rng
        self.by_class = {c: [i for i, v in enumerate(y) if v == c] for c in set(y)}

    def draw(self, n):
        a, p, q = [], [], []
        for _ in range(n):
            pos, neg = self.rng.sample(sorted(self.by_class), 2)
            i, j = self.rng.sample(self.by_class[pos], 2)
            a.append(i)
            p.append(j)
            q.append(self.rng.choice(self.by_class[neg]))
        return self.x[a], self.x[p], self.x[q]


class Embedder(nn.Module):
    def __init__(self, d_in=64, d_out=16):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d_in, 96), nn.ReLU(), nn.Linear(96, d_out))

    def forward(self, x):
        return nn.functional.normalize(self.net(x), dim=1)


def nearest_neighbour_accuracy(model, xa, ya, xb, yb):
    model.eval()
    with torch.no_grad():
        d = torch.cdist(model(xb), model(xa))
    return (torch.tensor(ya)[d.argmin(dim=1)] == torch.tensor(yb)).float().mean().item()


def main():
    torch.manual_seed(0)
    rng = random.Random(0)
    X, y = load_digits(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32) / 16
    xa, xb, ya, yb = train_test_split(X, y.tolist(), test_size=500, random_state=0)
    sampler = TripletSampler(xa, ya, rng)
    model = Embedder()
    triplet = nn.TripletMarginLoss(margin=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(1, 201):
        model.train()
        anchor, positive, negative = sampler.draw(64)
        loss = triplet(model(anchor), model(positive), model(negative))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 0:
            print(f"step {step} loss {loss.item():.4f} 1-NN accuracy {nearest_neighbour_accuracy(model, xa, ya, xb, yb):.3f}")


if __name__ == "__main__":
    main()
