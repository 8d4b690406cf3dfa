import torch
import torch.nn.functional as F
from torch import nn


def make_batch(n, steps, gen):
    """Each step has a reading and a quality code; the answer is the reading of the best quality."""
    reading = torch.randn(n, steps, generator=gen)
    quality = torch.rand(n, steps, generator=gen)
    best = quality.argmax(dim=1)
    quality[torch.arange(n), best] += 0.5
    x = torch.stack([reading, quality * 2 - 1], dim=-1)
    return x, reading[torch.arange(n), best]


class AdditiveAttention(nn.Module):
    def __init__(self, d, d_att):
        super().__init__()
        self.proj = nn.Linear(d, d_att)
        self.energy = nn.Linear(d_att, 1)

    def forward(self, h):
        e = self.energy(torch.tanh(self.proj(h)))
        alpha = F.softmax(e, dim=1)
        return torch.einsum("btk,btd->bd", alpha, h), alpha.squeeze(-1)


class Reader(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(2, d), nn.ReLU(), nn.LayerNorm(d))
        self.attend = AdditiveAttention(d, 24)
        self.out = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))

    def forward(self, x):
        context, alpha = self.attend(self.embed(x))
        return self.out(context).squeeze(-1), alpha


def batches(x, y, size):
    order = torch.randperm(len(x))
    for lo in range(0, len(x), size):
        pick = order[lo:lo + size]
        yield x[pick], y[pick]


def main():
    torch.manual_seed(21)
    gen = torch.Generator().manual_seed(8)
    x_tr, y_tr = make_batch(2048, 9, gen)
    x_te, y_te = make_batch(512, 9, gen)

    reader = Reader()
    optimiser = torch.optim.Adam(reader.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=8, gamma=0.5)
    for epoch in range(1, 17):
        reader.train()
        tot = 0.0
        for xb, yb in batches(x_tr, y_tr, 64):
            guess, _ = reader(xb)
            loss = F.mse_loss(guess, yb)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            tot += loss.item() * len(xb)
        schedule.step()
        reader.eval()
        with torch.no_grad():
            guess, alpha = reader(x_te)
            r2 = 1 - F.mse_loss(guess, y_te).item() / y_te.var(unbiased=False).item()
        if epoch % 2 == 0:
            print(f"epoch {epoch}: mse {tot / len(x_tr):.3f}, test R2 {r2:.3f}, "
                  f"largest weight {alpha.max(dim=1).values.mean().item():.2f}")


if __name__ == "__main__":
    main()
