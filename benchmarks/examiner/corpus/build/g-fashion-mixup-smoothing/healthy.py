import gzip, os
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

np.random.seed(0)
torch.manual_seed(0)
D = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")
NUM_CLASSES = 10


def idx(name, offset, count, shape):
    with gzip.open(os.path.join(D, name)) as fh:
        return np.frombuffer(fh.read(offset + count * int(np.prod(shape or (1,)))), np.uint8, offset=offset).reshape((count,) + shape)


xtr = idx("train-images-idx3-ubyte.gz", 16, 6000, (28, 28)).astype(np.float32) / 255
ytr = idx("train-labels-idx1-ubyte.gz", 8, 6000, ()).astype(np.int64)
xte = idx("t10k-images-idx3-ubyte.gz", 16, 1500, (28, 28)).astype(np.float32) / 255
yte = idx("t10k-labels-idx1-ubyte.gz", 8, 1500, ()).astype(np.int64)
mu, sigma = xtr.mean(), xtr.std()
xtr, xte = torch.tensor((xtr - mu) / sigma).unsqueeze(1), torch.tensor((xte - mu) / sigma).unsqueeze(1)
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


def smooth_one_hot(y, eps=0.1):
    return torch.full((len(y), NUM_CLASSES), eps / NUM_CLASSES).scatter_(1, y[:, None], 1 - eps + eps / NUM_CLASSES)


def mixup(x, t, alpha=0.2):
    lam = np.random.beta(alpha, alpha)
    other = torch.randperm(len(x))
    return lam * x + (1 - lam) * x[other], lam * t + (1 - lam) * t[other]


def soft_cross_entropy(logits, target):
    return -(target * F.log_softmax(logits, dim=1)).sum(dim=1).mean()


model = nn.Sequential(
    nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
    nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
    nn.Flatten(), nn.Linear(16 * 49, 64), nn.ReLU(), nn.Linear(64, NUM_CLASSES))
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)

for epoch in range(4):
    model.train()
    for i in torch.randperm(len(xtr)).split(64):
        x, t = mixup(xtr[i], smooth_one_hot(ytr[i]))
        loss = soft_cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        pred = torch.cat([model(c).argmax(1) for c in xte.split(500)])
    print(f"epoch {epoch + 1} mixed loss {loss.item():.3f} test accuracy {(pred == yte).float().mean().item():.4f}")
