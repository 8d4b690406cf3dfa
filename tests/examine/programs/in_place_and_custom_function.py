import hashlib

import torch
from torch import nn


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (x.abs() < 2).to(gradient.dtype)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.out = nn.Linear(8, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += len(x)
        for layer in self.layers:
            x = Clipped.apply(layer(x))
            x = x.mul(2).relu_() + 0.1
            x[:, 0] = x[:, 0] * 0.5
        return self.out(x)


network = Net()
optimizer = torch.optim.RMSprop(network.parameters(), lr=1e-3)
for _ in range(50):
    inputs = torch.randn(16, 8)
    loss = (network(inputs) - inputs.sum(1, keepdim=True)).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item(), network.seen.item(), fingerprint(network))
