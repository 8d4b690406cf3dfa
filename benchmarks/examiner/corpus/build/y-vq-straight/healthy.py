"""A vector-quantised autoencoder of 8x8 digits, then a LoRA-tuned classifier.

Everything discrete goes through a straight-through estimator: the codebook
lookup by adding a detached difference, the binary gate by its own autograd
function.  The last map of each residual branch and LoRA's B begin at zero.
"""
import math
from types import SimpleNamespace

import torch
from sklearn.datasets import load_digits
from torch import autograd, nn
from torch.nn import functional as F

args = SimpleNamespace(codes=32, dim=8, slots=6, hidden=64, batch=50, ae_steps=240, cls_steps=200, beta=0.25, rank=4)


class HardGate(autograd.Function):
    """Forward: a step. Backward: the identity inside [-1, 1] (hard tanh)."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1).to(grad.dtype)


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.b.weight)
        nn.init.zeros_(self.b.bias)

    def forward(self, x):
        return x + self.b(F.silu(self.a(x)))


class Codebook(nn.Module):
    def __init__(self, codes, dim):
        super().__init__()
        self.table = nn.Embedding(codes, dim)
        nn.init.uniform_(self.table.weight, -0.5, 0.5)

    def forward(self, z):
        flat = z.reshape(-1, z.size(-1))
        nearest = torch.cdist(flat, self.table.weight).argmin(dim=1)
        chosen = self.table(nearest).view_as(z)
        penalty = F.mse_loss(chosen, z.detach()) + args.beta * F.mse_loss(z, chosen.detach())
        return z + (chosen - z).detach(), penalty, nearest


class VQAutoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(64, args.hidden)
        self.gate = nn.Linear(64, args.hidden)
        self.mix = Residual(args.hidden)
        self.to_code = nn.Linear(args.hidden, args.slots * args.dim)
        self.codebook = Codebook(args.codes, args.dim)
        self.decode = nn.Sequential(
            nn.Linear(args.slots * args.dim, args.hidden), nn.SiLU(), Residual(args.hidden), nn.SiLU(),
            nn.Linear(args.hidden, 64),
        )

    def encode(self, x):
        h = F.silu(self.enter(x)) * HardGate.apply(self.gate(x))
        return self.to_code(F.silu(self.mix(h))).unflatten(1, (args.slots, args.dim))

    def forward(self, x):
        z, penalty, nearest = self.codebook(self.encode(x))
        return self.decode(z.flatten(1)), penalty, nearest


class LoRA(nn.Module):
    """A frozen linear map plus a trained low-rank change that starts at nought."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.down), self.up)


class Recogniser(nn.Module):
    def __init__(self, pretrained):
        super().__init__()
        self.enter = LoRA(pretrained.enter, args.rank)
        self.mix = pretrained.mix.requires_grad_(False)
        self.top = nn.Linear(args.hidden, 10)

    def forward(self, x):
        return self.top(F.silu(self.mix(F.silu(self.enter(x)))))


def stream(n, size):
    while True:
        yield from torch.randperm(n).split(size)


def descend(steps, indices, parameters, objective, lr, title, watch):
    optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=lr)
    for step, index in zip(range(1, steps + 1), indices):
        loss = objective(index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % (steps // 4) == 0:
            print(f"{title} {step:4d}: loss {loss.item():.4f}; {watch()}")


def main():
    torch.manual_seed(404)
    bunch = load_digits()
    x = torch.tensor(bunch.data / 8.0 - 1.0, dtype=torch.float32)
    y = torch.tensor(bunch.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    x_train, x_test, y_train, y_test = x[order[:1400]], x[order[1400:]], y[order[:1400]], y[order[1400:]]

    model = VQAutoencoder()

    def rebuild(index):
        out, penalty, _ = model(x_train[index])
        return F.mse_loss(out, x_train[index]) + penalty

    @torch.no_grad()
    def held_out_error():
        out, _, nearest = model(x_test)
        base = (x_test - x_train.mean(0)).pow(2).mean().item()
        return f"held-out mse {F.mse_loss(out, x_test).item():.4f} (mean image {base:.4f}), {nearest.unique().numel()} codes in use"

    descend(args.ae_steps, stream(1400, args.batch), model.parameters(), rebuild, 2e-3, "vq", held_out_error)

    judge = Recogniser(model)

    @torch.no_grad()
    def held_out_accuracy():
        return f"held-out accuracy {(judge(x_test).argmax(1) == y_test).float().mean().item():.4f}"

    descend(args.cls_steps, stream(1400, args.batch), judge.parameters(),
            lambda i: F.cross_entropy(judge(x_train[i]), y_train[i]), 4e-3, "lora", held_out_accuracy)


if __name__ == "__main__":
    main()
