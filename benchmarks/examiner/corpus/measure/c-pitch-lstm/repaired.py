import math

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Tones(Dataset):
    """Rising, falling or steady tones."""

    def __init__(self, n, steps, seed):
        g = torch.Generator().manual_seed(seed)
        self.label = torch.randint(0, 3, (n,), generator=g)
        slope = torch.tensor([1.0, -1.0, 0.0])[self.label]
        base = 1.0 + 0.3 * torch.rand(n, generator=g)
        t = torch.linspace(0, 1, steps)
        level = base[:, None] * slope[:, None] * (t - 0.5) + 0.3 * torch.randn(n, 1, generator=g)
        ripple = 0.3 * torch.sin(2 * math.pi * (3 * t + torch.rand(n, 1, generator=g)))
        noise = 0.2 * torch.randn(n, steps, generator=g)
        self.series = (level + ripple + noise).unsqueeze(-1)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.series[i], self.label[i]


class ToneClassifier(nn.Module):
    def __init__(self, hidden=24, n_classes=3):
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=hidden, num_layers=1, batch_first=True)
        self.fc = nn.Linear(hidden, n_classes)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1, :])


def epoch_pass(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    loss_sum = hits = n = 0
    with torch.set_grad_enabled(training):
        for x, y in loader:
            logits = model(x)
            loss = criterion(logits, y)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(y)
            hits += (logits.argmax(-1) == y).sum().item()
            n += len(y)
    return loss_sum / n, hits / n


def main():
    torch.manual_seed(5)
    train_loader = DataLoader(Tones(1200, 24, seed=1), batch_size=40, shuffle=True)
    test_loader = DataLoader(Tones(400, 24, seed=2), batch_size=40)
    model = ToneClassifier()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(6):
        tr_loss, tr_acc = epoch_pass(model, train_loader, criterion, optimizer)
        te_loss, te_acc = epoch_pass(model, test_loader, criterion)
        print(f"[{epoch + 1}/6] train {tr_loss:.3f}/{tr_acc:.2%}  test {te_loss:.3f}/{te_acc:.2%}")


if __name__ == "__main__":
    main()
