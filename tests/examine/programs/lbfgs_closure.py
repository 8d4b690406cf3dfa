import hashlib

import torch
from torch import nn
from torch.nn import functional as F


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
inputs = torch.linspace(-1, 1, 64).unsqueeze(1)
targets = torch.sin(3 * inputs)
network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
optimizer = torch.optim.LBFGS(network.parameters(), lr=0.5, max_iter=5, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    loss = F.mse_loss(network(inputs), targets)
    loss.backward()
    return loss


for step in range(15):
    print(step, optimizer.step(closure).item())
print(fingerprint(network))
