"""Knowledge distillation (Hinton et al.) in one page, on the 8x8 digits."""
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TEMPERATURE = 3.0
ALPHA = 0.7
EPOCHS_TEACHER, EPOCHS_STUDENT = 8, 12
BATCH_SIZE = 48


class Teacher(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(32 * 16, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Student(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.fc1 = nn.Linear(64, hidden)
        self.fc2 = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


def distillation_loss(student_logits, teacher_logits, labels, T, alpha):
    soft_student = F.softmax(student_logits / T, dim=1)  # <-- here
    soft_teacher = F.softmax(teacher_logits / T, dim=1)
    kd = nn.KLDivLoss(reduction="batchmean")(soft_student, soft_teacher) * T * T  # <-- here
    ce = F.cross_entropy(student_logits, labels)
    return alpha * kd + (1 - alpha) * ce


def batches(x, y, rng):
    for idx in np.array_split(rng.permutation(len(x)), len(x) // BATCH_SIZE):
        yield x[idx], y[idx]


def accuracy(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


def train_teacher(net, x, y, rng):
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(EPOCHS_TEACHER):
        net.train()
        for xb, yb in batches(x, y, rng):
            loss = F.cross_entropy(net(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"teacher epoch {epoch + 1} loss {loss.item():.4f}")
    return net


def train_student(net, x, y, rng, teacher=None):
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    if teacher is not None:
        teacher = copy.deepcopy(teacher).eval()
        for p in teacher.parameters():
            p.requires_grad_(False)
    for epoch in range(EPOCHS_STUDENT):
        net.train()
        total, n = 0.0, 0
        for xb, yb in batches(x, y, rng):
            logits = net(xb)
            if teacher is None:
                loss = F.cross_entropy(logits, yb)
            else:
                with torch.no_grad():
                    t_logits = teacher(xb)
                loss = distillation_loss(logits, t_logits, yb, TEMPERATURE, ALPHA)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total, n = total + loss.item() * len(xb), n + len(xb)
        if epoch % 3 == 2:
            print(f"student epoch {epoch + 1} loss {total / n:.4f}")
    return net


def main():
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    bunch = load_digits()
    x = torch.tensor(bunch.images / 16.0, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(bunch.target)
    tr, te = train_test_split(np.arange(len(y)), test_size=0.3, random_state=6, stratify=bunch.target)

    teacher = train_teacher(Teacher(), x[tr], y[tr], rng)
    init = Student()
    results = {"teacher": accuracy(teacher, x[te], y[te])}
    results["student alone"] = accuracy(train_student(copy.deepcopy(init), x[tr], y[tr], rng), x[te], y[te])
    results["student distilled"] = accuracy(
        train_student(copy.deepcopy(init), x[tr], y[tr], rng, teacher), x[te], y[te])
    for k, v in results.items():
        print(f"{k:18s} {v:.4f}")


if __name__ == "__main__":
    main()
