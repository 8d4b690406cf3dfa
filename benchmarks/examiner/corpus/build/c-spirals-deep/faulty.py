import math

import torch
from torch import nn


def spirals(n, g):
    arm = torch.randint(0, 3, (n,), generator=g)
    r = torch.rand(n, generator=g).sqrt()
    angle = 1.5 * math.pi * r + arm * 2 * math.pi / 3 + 0.15 * torch.randn(n, generator=g)
    pts = torch.stack([r * torch.cos(angle), r * torch.sin(angle)], dim=1) * 2
    return pts, arm


WIDTH, DEPTH = 8, 4

gen = torch.Generator().manual_seed(21)
torch.manual_seed(21)
train_x, train_y = spirals(1500, gen)
test_x, test_y = spirals(500, gen)

net = nn.Sequential(
    nn.Linear(2, WIDTH), nn.Tanh(),
    *([nn.Linear(WIDTH, WIDTH), nn.Tanh()] * DEPTH),  # <-- here
    nn.Linear(WIDTH, 3),
)
print(net)
print("weights:", sum(p.numel() for p in net.parameters()))

optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
ce = nn.CrossEntropyLoss()

for epoch in range(1, 16):
    perm = torch.randperm(len(train_x))
    for start in range(0, len(perm), 75):
        batch = perm[start:start + 75]
        loss = ce(net(train_x[batch]), train_y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 3 == 0:
        with torch.inference_mode():
            out = net(test_x)
            print(f"epoch {epoch}: test loss {ce(out, test_y):.4f}, accuracy {(out.argmax(1) == test_y).float().mean():.3f}")
