import hashlib

import torch
from torch import nn


def fingerprint(*modules):
    state = [value for module in modules for value in module.state_dict().values()]
    return hashlib.sha256(b"".join(value.detach().float().numpy().tobytes() for value in state)).hexdigest()


torch.manual_seed(1)
real = torch.randn(256, 2) * 0.5 + 2
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
judge = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
first = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
second = torch.optim.Adam(judge.parameters(), lr=1e-3, betas=(0.5, 0.999))
criterion = nn.BCEWithLogitsLoss()
for step in range(60):
    batch = real[torch.randint(0, 256, (32,))]
    fake = generator(torch.randn(32, 4))
    second.zero_grad()
    loss = criterion(judge(batch), torch.ones(32, 1)) + criterion(judge(fake.detach()), torch.zeros(32, 1))
    loss.backward()
    second.step()
    first.zero_grad()
    fooled = criterion(judge(fake), torch.ones(32, 1))
    fooled.backward()
    first.step()
    if step % 20 == 0:
        print(step, loss.item(), fooled.item())
print(fingerprint(generator, judge))
