"""Model-agnostic meta-learning on sine waves."""
import math
from typing import Dict, Iterator, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

Params = Dict[str, Tensor]
Task = Tuple[Tensor, Tensor, Tensor, Tensor]


class Regressor(nn.Module):
    def __init__(self, width: int = 40):
        super().__init__()
        self.f1 = nn.Linear(1, width)
        self.f2 = nn.Linear(width, width)
        self.f3 = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.f1(x))
        x = torch.tanh(self.f2(x))
        return self.f3(x)


def sine_task(rng: torch.Generator, shots: int = 10) -> Task:
    amplitude = 0.5 + 1.5 * torch.rand((), generator=rng)
    phase = math.pi * torch.rand((), generator=rng)
    x = 4 * torch.rand(2 * shots, 1, generator=rng) - 2
    y = amplitude * torch.sin(1.5 * x + phase)
    return x[:shots], y[:shots], x[shots:], y[shots:]


def task_batches(rng: torch.Generator, meta_batch: int, count: int) -> Iterator[list]:
    for _ in range(count):
        yield [sine_task(rng) for _ in range(meta_batch)]


class Maml:
    def __init__(self, net: nn.Module, inner_lr: float, inner_steps: int, outer_lr: float):
        self.net = net
        self.inner_lr, self.inner_steps = inner_lr, inner_steps
        self.outer = torch.optim.Adam(net.parameters(), lr=outer_lr)

    def adapt(self, x: Tensor, y: Tensor, second_order: bool) -> Params:
        """A few steps of plain gradient descent on fast weights."""
        fast: Params = dict(self.net.named_parameters())
        for _ in range(self.inner_steps):
            loss = F.mse_loss(functional_call(self.net, fast, (x,)), y)
            grads = torch.autograd.grad(loss, list(fast.values()), create_graph=second_order)
            fast = {k: w - self.inner_lr * g for (k, w), g in zip(fast.items(), grads)}
        return fast

    def outer_step(self, tasks: list) -> float:
        self.net.train()
        total = torch.zeros(())
        for xs, ys, xq, yq in tasks:
            fast = self.adapt(xs, ys, second_order=True)
            total = total + F.mse_loss(functional_call(self.net, fast, (xq,)), yq)
        total = total / len(tasks)
        self.outer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 10.0)
        self.outer.step()
        return total.item()

    def evaluate(self, tasks: list) -> Tuple[float, float]:
        self.net.eval()
        before = after = 0.0
        for xs, ys, xq, yq in tasks:
            fast = self.adapt(xs, ys, second_order=False)
            with torch.no_grad():
                before += F.mse_loss(self.net(xq), yq).item()
                after += F.mse_loss(functional_call(self.net, fast, (xq,)), yq).item()
        return before / len(tasks), after / len(tasks)


def baseline(tasks: list) -> float:
    """Error of answering with the mean of the support set."""
    return sum(F.mse_loss(ys.mean().expand_as(yq), yq).item() for _, ys, _, yq in tasks) / len(tasks)


def main() -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    held_out = [sine_task(torch.Generator().manual_seed(10_000 + k)) for k in range(60)]
    maml = Maml(Regressor(), inner_lr=0.1, inner_steps=2, outer_lr=4e-3)
    print(f"mean of the support set: {baseline(held_out):.3f}")
    print("untrained   before %.3f  after adaptation %.3f" % maml.evaluate(held_out))
    window = []
    for n, tasks in enumerate(task_batches(rng, meta_batch=8, count=120), 1):
        window.append(maml.outer_step(tasks))
        if n % 40 == 0:
            before, after = maml.evaluate(held_out)
            print(f"{n:4d}  meta loss {sum(window) / len(window):.3f}  before {before:.3f}  after {after:.3f}")
            window.clear()


if __name__ == "__main__":
    main()
