"""Large-margin cosine embeddings of the handwritten digits."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class CosineMargin(nn.Module):
    def __init__(self, dim, classes, s=24.0, m=0.35):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, dim))
        nn.init.xavier_uniform_(self.weight)
        self.s, self.m = s, m

    def cosine(self, z):
        return F.normalize(z, dim=1) @ F.normalize(self.weight, dim=1).t()

    def forward(self, z, y):
        cos = self.cosine(z)
        logits = self.s * (cos - self.m * F.one_hot(y, cos.size(1)))
        e = torch.exp(logits - logits.amax(dim=1, keepdim=True).detach())
        p = e / e.sum(dim=1, keepdim=True)
        return -torch.log(p.gather(1, y[:, None])).mean()  # <-- here


class Embedder(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.PReLU(16),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32),
        )
        self.linear = nn.Linear(32 * 16, dim)

    def forward(self, x):
        return self.linear(self.conv(x).flatten(1))


def batches(n, size):
    perm = torch.randperm(n)
    for i in range(0, n - size + 1, size):
        yield perm[i:i + size]


def evaluate(backbone, margin, x, y):
    backbone.eval()
    with torch.no_grad():
        cos = margin.cosine(backbone(x))
    top = cos.topk(2, dim=1)
    return (top.indices[:, 0] == y).float().mean().item(), (top.values[:, 0] - top.values[:, 1]).mean().item()


def main():
    torch.manual_seed(19)
    images, target = load_digits(return_X_y=True)
    images = torch.tensor(images / 8.0 - 1.0, dtype=torch.float32).view(-1, 1, 8, 8)
    x, x_test, y, y_test = train_test_split(images, torch.tensor(target), test_size=0.3, random_state=1)

    backbone, margin = Embedder(), CosineMargin(24, 10)
    params = [*backbone.parameters(), *margin.parameters()]
    optimizer = torch.optim.SGD(params, lr=0.02, momentum=0.9, weight_decay=5e-4)
    for epoch in range(6):
        backbone.train()
        losses = []
        for idx in batches(len(x), 32):
            loss = margin(backbone(x[idx]), y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        acc, gap = evaluate(backbone, margin, x_test, y_test)
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}  test acc {acc:.3f}  cosine gap {gap:.3f}")


if __name__ == "__main__":
    main()
