import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

T, ALPHA, MICRO, ACCUM = 3.0, 0.6, 16, 2


def mlp(*sizes):
    layers = []
    for i, o in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Distiller(nn.Module):
    def __init__(self, student, teacher):
        super().__init__()
        self.student = student
        self._teacher = [teacher.eval().requires_grad_(False)]   # not part of state_dict

    def loss(self, x, y):
        s = self.student(x)
        with torch.no_grad():
            t = self._teacher[0](x)
        soft = F.kl_div(F.log_softmax(s / T, 1), F.softmax(t / T, 1), reduction="batchmean") * T * T
        return ALPHA * soft + (1 - ALPHA) * F.cross_entropy(s, y)


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        hits = sum((net(x).argmax(1) == y).sum().item() for x, y in loader)
    net.train()
    return hits / len(loader.dataset)


def train_teacher(loader, epochs=8):
    net = mlp(64, 128, 128, 10)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
    return net


def main():
    torch.manual_seed(23)
    d = load_digits()
    full = TensorDataset(torch.tensor(d.data / 16.0 - 0.3, dtype=torch.float32), torch.tensor(d.target))
    train, test = random_split(full, [1440, len(full) - 1440])
    test_loader = DataLoader(test, batch_size=200)
    teacher = train_teacher(DataLoader(train, batch_size=32, shuffle=True))
    print("teacher", accuracy(teacher, test_loader))

    box = Distiller(mlp(64, 24, 10), teacher)
    opt = torch.optim.AdamW(box.parameters(), lr=3e-3)
    loader = DataLoader(train, batch_size=MICRO, shuffle=True)
    for epoch in range(6):
        total = 0.0
        opt.zero_grad()
        for i, (x, y) in enumerate(loader, 1):
            loss = box.loss(x, y)
            (loss / ACCUM).backward()
            total += loss.item() * len(x)
            if i % ACCUM == 0 or i == len(loader):
                opt.step()
                opt.zero_grad()
        print(f"epoch {epoch} loss {total / len(train):.4f} student {accuracy(box.student, test_loader):.4f}")


if __name__ == "__main__":
    main()
