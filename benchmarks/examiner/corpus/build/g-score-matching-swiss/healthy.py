import numpy as np
import torch
from torch import nn
from sklearn.datasets import make_swiss_roll

gen = torch.Generator().manual_seed(8)
torch.manual_seed(8)

pts = make_swiss_roll(5000, noise=0.3, random_state=8)[0][:, [0, 2]]
pts = torch.from_numpy((pts / pts.std()).astype(np.float32))
train_pts, held_pts = pts[:4500], pts[4500:]
sigmas = torch.logspace(0, -0.8, 6)


class ScoreNet(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        self.level = nn.Embedding(len(sigmas), width)
        self.inp = nn.Linear(2, width)
        self.mid = nn.Linear(width, width)
        self.out = nn.Linear(width, 2)
        self.act = nn.Softplus()

    def forward(self, x, k):
        h = self.act(self.inp(x) + self.level(k))
        h = self.act(self.mid(h))
        return self.out(h) / sigmas[k].unsqueeze(1)


def dsm_loss(net, x, k, eps):
    s = sigmas[k].unsqueeze(1)
    score = net(x + s * eps, k)
    return 0.5 * ((score * s + eps) ** 2).sum(1).mean()


net = ScoreNet()
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
held_k = torch.randint(0, len(sigmas), (500,), generator=gen)
held_eps = torch.randn(500, 2, generator=gen)
for it in range(500):
    x = train_pts[torch.randint(0, len(train_pts), (256,), generator=gen)]
    k = torch.randint(0, len(sigmas), (256,), generator=gen)
    loss = dsm_loss(net, x, k, torch.randn(x.shape, generator=gen))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % 100 == 0 or it == 499:
        with torch.no_grad():
            print(f"{it:4d} loss {loss.item():.4f} held-out {dsm_loss(net, held_pts, held_k, held_eps).item():.4f}")

with torch.no_grad():
    z = torch.randn(200, 2, generator=gen)
    for k, s in enumerate(sigmas):
        step = 0.1 * s ** 2
        for _ in range(20):
            z = z + step * net(z, torch.full((200,), k)) + (2 * step).sqrt() * torch.randn(z.shape, generator=gen)
    print("median distance of samples to data: %.3f" % torch.cdist(z, held_pts).min(1).values.median())
