import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

torch.manual_seed(6)
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
labels = digits.target
order = torch.randperm(len(images))
train_ids, test_ids = order[:1400], order[1400:]


def augment(x):
    """Random shift by up to one pixel, contrast and noise."""
    dx, dy = torch.randint(-1, 2, (2,)).tolist()
    x = F.pad(x, (1, 1, 1, 1))[:, :, 1 + dy:9 + dy, 1 + dx:9 + dx]
    x = x * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1))
    return x + 0.1 * torch.randn_like(x)


encoder = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 64), nn.ReLU(),
)
projector = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
opt = torch.optim.Adam([*encoder.parameters(), *projector.parameters()], lr=3e-3)


def nt_xent(z1, z2, tau=0.2):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    sim = z @ z.t() / tau
    sim = sim.masked_fill(torch.eye(len(z), dtype=torch.bool), float("-inf"))
    n = len(z1)
    positive = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(sim, positive)


def probe():
    encoder.eval()
    with torch.no_grad():
        feats = encoder(images).numpy()
    clf = LogisticRegression(max_iter=100).fit(feats[train_ids][:200], labels[train_ids][:200])
    encoder.train()
    return clf.score(feats[test_ids], labels[test_ids])


print("probe before training: %.3f" % probe())
for epoch in range(10):
    total = 0.0
    for idx in train_ids[torch.randperm(len(train_ids))].split(100):
        x = images[idx]
        loss = nt_xent(projector(encoder(augment(x))), projector(encoder(augment(x))))
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(idx)
    print(f"epoch {epoch} contrastive loss {total / len(train_ids):.3f}")
print("probe after training: %.3f" % probe())
