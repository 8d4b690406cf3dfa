import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class DistilLoss(nn.Module):
    def __init__(self, temperature=3.0, alpha=0.6):
        super().__init__()
        self.t, self.alpha = temperature, alpha
        self.kl = nn.KLDivLoss(reduction="batchmean")

    def forward(self, student_logits, teacher_logits, labels):
        soft = F.softmax(teacher_logits / self.t, dim=-1)
        kd = self.kl(F.log_softmax(student_logits / self.t, dim=-1), soft) * self.t ** 2
        return self.alpha * kd + (1 - self.alpha) * F.cross_entropy(student_logits, labels)


def make(width, depth):
    mods, n = [], 64
    for _ in range(depth):
        mods += [nn.Linear(n, width), nn.ReLU()]
        n = width
    return nn.Sequential(*mods, nn.Linear(n, 10))


def accuracy(net, loader):
    net.eval()
    with torch.inference_mode():
        ok = [(net(x).argmax(1) == y) for x, y in loader]
    return torch.cat(ok).float().mean().item()


def fit(net, loader, test, step_loss, epochs, lr, name):
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    for epoch in range(epochs):
        net.train()
        seen = []
        for x, y in loader:
            loss = step_loss(net, x, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            seen.append(loss.item())
        print(f"{name} {epoch}: loss {np.mean(seen):.3f} acc {accuracy(net, test):.3f}")


def main():
    torch.manual_seed(51)
    np.random.seed(51)
    X, y = load_digits(return_X_y=True)
    xa, xb, ya, yb = train_test_split((X / 16).astype(np.float32), y, test_size=0.25, random_state=51)
    ds = lambda a, b: TensorDataset(torch.from_numpy(a), torch.from_numpy(b))
    train, test = DataLoader(ds(xa, ya), batch_size=48, shuffle=True), DataLoader(ds(xb, yb), batch_size=150)

    teacher = make(128, 2)
    fit(teacher, train, test, lambda net, x, y: F.cross_entropy(net(x), y), 5, 2e-3, "teacher")
    teacher.requires_grad_(False).eval()

    criterion = DistilLoss()
    student = make(20, 1)

    def distil(net, x, y):
        with torch.no_grad():
            t = teacher(x)
        return criterion(net(x), t, y)

    fit(student, train, test, distil, 8, 4e-3, "student")


if __name__ == "__main__":
    main()
