import hashlib

import torch
from torch import nn
from torch.nn import functional as F


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
inputs, labels = torch.randn(512, 20), torch.randint(0, 5, (512,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(32, 5))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for epoch in range(4):
    network.train()
    for start in range(0, 512, 32):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs[start : start + 32]), labels[start : start + 32])
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        print(epoch, loss.item(), (network(inputs).argmax(1) == labels).float().mean().item())
print(fingerprint(network))
