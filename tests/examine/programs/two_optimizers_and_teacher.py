import copy
import hashlib

import torch
from torch import nn
from torch.nn import functional as F


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
body, head = nn.Sequential(nn.Linear(10, 16), nn.ReLU()), nn.Linear(16, 4)
teacher = copy.deepcopy(nn.Sequential(body, head)).eval()
for parameter in teacher.parameters():
    parameter.requires_grad_(False)
optimizers = [torch.optim.SGD(body.parameters(), lr=0.1), torch.optim.Adam(head.parameters(), lr=1e-2)]
average = torch.optim.swa_utils.AveragedModel(body)
for _ in range(40):
    inputs = torch.randn(16, 10)
    with torch.no_grad():
        wanted = F.softmax(teacher(inputs) / 2, dim=1)
    loss = (
        F.kl_div(F.log_softmax(head(body(inputs)) / 2, dim=1), wanted, reduction="batchmean")
        + head.weight.norm() * 0.01
    )
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    average.update_parameters(body)
print(loss.item(), fingerprint(body, head, average))
