import hashlib

import torch
from torch import nn
from torch.func import functional_call, grad, vmap


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
network = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
parameters = {name: value.detach() for name, value in network.named_parameters()}


def loss_of(values, example, target):
    return ((functional_call(network, values, (example.unsqueeze(0),)) - target) ** 2).sum()


each = vmap(grad(loss_of), in_dims=(None, 0, 0))
for _ in range(40):
    inputs = torch.randn(16, 6)
    gradients = each(parameters, inputs, inputs[:, :1])
    parameters = {name: value - 0.05 * gradients[name].mean(0) for name, value in parameters.items()}
print({name: float(value.sum()) for name, value in parameters.items()})
inputs = torch.randn(8, 6, requires_grad=True)
penalty = torch.autograd.grad(network(inputs).sum(), inputs, create_graph=True)[0].pow(2).sum()
penalty.backward()
print(penalty.item(), fingerprint(network))
