import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def draw(n, steps, gen):
    """Running balance: the sum of a noisy series, in units of its deviation."""
    x = torch.randn(n, steps, 1, generator=gen)
    return x, x.sum(dim=(1, 2)) / math.sqrt(steps)


class IRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.RNN(1, hidden, nonlinearity="relu", batch_first=True)
        nn.init.eye_(self.rnn.weight_hh_l0)
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)
        nn.init.zeros_(self.rnn.bias_ih_l0)
        nn.init.zeros_(self.rnn.bias_hh_l0)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.out(h[:, -1]).squeeze(-1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--steps", type=int, default=60)
    ap.add_argument("--hidden", type=int, default=24)
    ap.add_argument("--lr", type=float, default=0.002)
    ap.add_argument("--iters", type=int, default=200)
    ap.add_argument("--log", type=int, default=30)
    a = ap.parse_args()
    torch.manual_seed(19)
    gen = torch.Generator().manual_seed(190)
    x_val, y_val = draw(300, a.steps, gen)
    model = IRNN(a.hidden)
    opt = torch.optim.SGD(model.parameters(), lr=a.lr, momentum=0.9)
    for it in range(1, a.iters + 1):
        x, y = draw(32, a.steps, gen)
        loss = F.mse_loss(model(x), y)
        opt.zero_grad()
        loss.backward()  # <-- here
        opt.step()  # <-- here
        if it % a.log == 0:
            model.eval()
            with torch.no_grad():
                val = F.mse_loss(model(x_val), y_val).item()
            model.train()
            print(f"{it:4d} train {loss.item():.4g} val {val:.4g} (variance {y_val.var():.2f})")


if __name__ == "__main__":
    main()
