import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(15)
X, y = load_digits(return_X_y=True)
full = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
train_set, test_set = random_split(full, [1400, 397])
train_loader = DataLoader(train_set, 50, shuffle=True)
test_loader = DataLoader(test_set, 397)


def mlp(*sizes, p=0.0):
    layers = []
    for a, b in zip(sizes[:-2], sizes[1:-1]):
        layers += [nn.Linear(a, b), nn.ReLU()]
        if p:
            layers.append(nn.Dropout(p))
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


@torch.no_grad()
def accuracy(net):
    net.eval()
    ok = sum((net(a).argmax(1) == b).sum().item() for a, b in test_loader)
    return ok / len(test_set)


def fit_teacher(net, epochs):
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        net.train()
        for a, b in train_loader:
            opt.zero_grad()
            F.cross_entropy(net(a), b).backward()
            opt.step()
    print(f"teacher {accuracy(net):.4f}")


def distil(student, teacher, epochs, T=3.0, alpha=0.7):
    teacher.eval()
    for p in teacher.parameters():
        p.requires_grad_(False)
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    for epoch in range(epochs):
        student.train()
        for a, b in train_loader:
            with torch.no_grad():
                soft = F.softmax(teacher(a) / T, dim=1)
            logits = student(a)
            kd = F.kl_div(F.log_softmax(logits / T, dim=1), soft, reduction="batchmean") * T * T
            loss = alpha * kd + (1 - alpha) * F.cross_entropy(logits, b)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"student epoch {epoch} loss {loss.item():.4f} accuracy {accuracy(student):.4f}")


teacher = mlp(64, 128, 64, 10, p=0.2)
fit_teacher(teacher, 5)
distil(mlp(64, 24, 10), teacher, 6)
