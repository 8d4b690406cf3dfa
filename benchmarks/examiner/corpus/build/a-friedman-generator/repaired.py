import numpy as np
import torch
from sklearn.datasets import make_friedman1


def mse(pred, true):
    return torch.mean((pred - true) ** 2)


def minibatches(inputs, outputs, size, rng):
    order = rng.permutation(len(inputs))
    for start in range(0, len(order), size):
        take = order[start:start + size]
        yield torch.from_numpy(inputs[take]), torch.from_numpy(outputs[take])


class Surrogate(torch.nn.Module):
    def __init__(self, d, width):
        super().__init__()
        self.inp = torch.nn.Linear(d, width)
        self.mid = torch.nn.Linear(width, width)
        self.out = torch.nn.Linear(width, 1)

    def forward(self, x):
        h = torch.nn.functional.silu(self.inp(x))
        h = h + torch.nn.functional.silu(self.mid(h))
        return self.out(h).squeeze(-1)


def main(seed=3):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    x, y = make_friedman1(n_samples=1500, n_features=8, noise=0.5, random_state=seed)
    x, y = x.astype("float32"), y.astype("float32")
    x_tr, y_tr, x_te, y_te = x[:1200], y[:1200], x[1200:], y[1200:]
    x_mu, x_sd, y_mu, y_sd = x_tr.mean(0), x_tr.std(0), y_tr.mean(), y_tr.std()
    x_tr, x_te = (x_tr - x_mu) / x_sd, (x_te - x_mu) / x_sd

    g = Surrogate(8, 48)
    optim = torch.optim.Adam(g.parameters(), lr=3e-3)
    for epoch in range(10):
        g.train()
        for a, b in minibatches(x_tr, (y_tr - y_mu) / y_sd, 60, rng):
            optim.zero_grad()
            loss = mse(g(a), b)
            loss.backward()
            optim.step()
        g.eval()
        with torch.no_grad():
            guess = g(torch.from_numpy(x_te)).numpy().reshape(-1) * y_sd + y_mu
        rmse = float(np.sqrt(np.mean((guess - y_te) ** 2)))
        print(f"{epoch:2d} rmse {rmse:.3f} (spread of the target {y_te.std():.3f})")


if __name__ == "__main__":
    main()
