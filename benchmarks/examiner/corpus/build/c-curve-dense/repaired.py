import numpy as np
import torch
from torch.nn import Module, Parameter, ModuleList
from torch.nn.functional import mse_loss


class Dense(Module):
    """y = f(x W + b)"""

    def __init__(self, n_in, n_out, f=None):
        super().__init__()
        self.W = Parameter(torch.randn(n_in, n_out) / n_in ** 0.5)
        self.b = Parameter(torch.zeros(n_out))
        self.f = f

    def forward(self, x):
        z = x @ self.W + self.b
        return z if self.f is None else self.f(z)


class Stack(Module):
    def __init__(self, *sizes):
        super().__init__()
        last = len(sizes) - 2
        self.parts = ModuleList(
            Dense(a, b, torch.tanh if i < last else None) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))
        )

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return x


def target(x):
    return np.sin(3 * x[:, :1]) * np.cos(2 * x[:, 1:]) + 0.5 * x[:, 1:]


def stream(x, y, size, rounds, rng):
    for r in range(rounds):
        order = rng.permutation(len(x))
        for i in range(0, len(x), size):
            yield r, x[order[i:i + size]], y[order[i:i + size]]


if __name__ == "__main__":
    rng = np.random.default_rng(6)
    torch.manual_seed(6)
    points = rng.uniform(-1.7, 1.7, (1000, 2))
    values = target(points) + 0.05 * rng.standard_normal((1000, 1))
    P, V = torch.tensor(points, dtype=torch.float32), torch.tensor(values, dtype=torch.float32)
    P_train, V_train, P_test, V_test = P[:800], V[:800], P[800:], V[800:]

    f = Stack(2, 40, 40, 1)
    adam = torch.optim.Adam(f.parameters(), lr=0.005)
    shown = -1
    for r, xb, yb in stream(P_train, V_train, 40, 32, rng):
        loss = mse_loss(f(xb), yb)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if r // 8 != shown:
            shown = r // 8
            with torch.no_grad():
                print(f"round {r}: test mse {mse_loss(f(P_test), V_test).item():.4f} (variance {V_test.var().item():.4f})")
    with torch.no_grad():
        print(f"final test mse {mse_loss(f(P_test), V_test).item():.4f}")
