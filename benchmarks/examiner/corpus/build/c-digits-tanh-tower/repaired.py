import torch
from torch import nn
from sklearn.datasets import load_digits


def build_tower(n_in, width, depth, n_out):
    layers = [nn.Linear(n_in, width), nn.Tanh()]
    for _ in range(depth - 1):
        layers.append(nn.Linear(width, width))
        layers.append(nn.Tanh())
    layers.append(nn.Linear(width, n_out))
    return nn.Sequential(*layers)


def reset(net):
    for p in net.parameters():
        if p.dim() == 2:
            nn.init.xavier_normal_(p)
        else:
            nn.init.zeros_(p)


def split(seed, n_test=350):
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    x = (x - 0.3) / 0.38
    y = torch.tensor(data.target)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    te, tr = order[:n_test], order[n_test:]
    return x[tr], y[tr], x[te], y[te]


def main():
    torch.manual_seed(1234)
    x, y, xt, yt = split(1234)
    net = build_tower(64, 40, 7, 10)
    reset(net)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)
    for epoch in range(1, 9):
        net.train()
        running = 0.0
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            loss = criterion(net(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            running += loss.item() * len(rows)
        scheduler.step()
        net.eval()
        with torch.no_grad():
            acc = (net(xt).argmax(1) == yt).sum().item() / len(yt)
        print(f"{epoch}\t{running / len(x):.4f}\t{acc:.4f}")


main()
