"""CRNN on long 1-D signals: which of three motifs comes last?"""
import torch
import torch.nn as nn
import torch.optim as optim

MOTIFS = torch.stack([
    torch.sin(torch.linspace(0, 6.28, 12)),
    torch.linspace(-1, 1, 12),
    torch.cat([torch.ones(6), -torch.ones(6)]),
]) * 1.5


def make_signals(n, gen, length=96, slots=8):
    x = torch.randn(n, 1, length, generator=gen) * 0.3
    y = torch.zeros(n, dtype=torch.long)
    step = length // slots
    for i in range(n):
        used = torch.randperm(slots, generator=gen)[:3].sort().values
        for s in used.tolist():
            k = int(torch.randint(0, 3, (1,), generator=gen))
            x[i, 0, s * step:(s + 1) * step] += MOTIFS[k]
            y[i] = k
    return x, y


class CRNN(nn.Module):
    def __init__(self, channels=16, hidden=24, classes=3):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv1d(1, channels, 7, stride=2, padding=3), nn.ReLU(),
            nn.Conv1d(channels, channels, 5, stride=3, padding=2), nn.ReLU(),
        )
        self.rnn = nn.GRU(channels, hidden)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, x):
        feats = self.cnn(x)
        seq = feats.permute(2, 0, 1)
        out, _ = self.rnn(seq)
        return self.fc(out[-1])


class Meter:
    def __init__(self):
        self.sum = self.n = 0

    def add(self, value, n):
        self.sum += value * n
        self.n += n

    @property
    def mean(self):
        return self.sum / max(self.n, 1)


def train_one_epoch(model, criterion, optimizer, x, y, batch_size):
    model.train()
    meter = Meter()
    for idx in torch.randperm(len(x)).split(batch_size):
        out = model(x[idx])
        loss = criterion(out, y[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        meter.add(loss.item(), len(idx))
    return meter.mean


@torch.no_grad()
def validate(model, x, y, batch_size):
    model.eval()
    meter = Meter()
    for xb, yb in zip(x.split(batch_size), y.split(batch_size)):
        meter.add((model(xb).argmax(1) == yb).float().mean().item(), len(yb))
    return meter.mean


def main():
    torch.manual_seed(6)
    gen = torch.Generator().manual_seed(60)
    x_train, y_train = make_signals(1200, gen)
    x_val, y_val = make_signals(300, gen)
    model = CRNN()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=4e-3)
    best, bad = 0.0, 0
    for epoch in range(8):
        loss = train_one_epoch(model, criterion, optimizer, x_train, y_train, 50)
        acc = validate(model, x_val, y_val, 50)
        print("epoch=%d loss=%.4f val_acc=%.3f" % (epoch, loss, acc))
        if acc > best:
            best, bad = acc, 0
        else:
            bad += 1
            if bad == 5:
                print("early stop")
                break
    print("best val acc", round(best, 3))


if __name__ == "__main__":
    main()
