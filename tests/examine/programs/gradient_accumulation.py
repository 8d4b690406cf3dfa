import hashlib

import torch
from torch import nn
from torch.nn import functional as F


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
network = nn.Sequential(nn.Linear(10, 24), nn.BatchNorm1d(24), nn.GELU(), nn.Linear(24, 3))
optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=30)
optimizer.zero_grad()
for step in range(120):
    inputs, labels = torch.randn(16, 10), torch.randint(0, 3, (16,))
    loss = F.cross_entropy(network(inputs), labels) / 4
    loss.backward()
    if step % 4 == 3:
        norm = nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        print(step, loss.item(), norm.item(), scheduler.get_last_lr())
print(fingerprint(network))
