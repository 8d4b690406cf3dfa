import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

LENGTH = 64


def template(kind, phase, cycles):
    t = 2 * np.pi * (cycles * np.arange(LENGTH) / LENGTH + phase)
    if kind == 0:
        return np.sin(t)
    if kind == 1:
        return np.sign(np.sin(t))
    return 2 / np.pi * np.arcsin(np.sin(t)) * (1 + 0.5 * np.cos(t / 2))


class Waveforms(Dataset):
    def __init__(self, n, seed, augment):
        source = np.random.default_rng(seed)
        self.kind = source.integers(0, 3, n)
        self.clean = np.stack([template(k, source.random(), source.uniform(2, 4)) for k in self.kind])
        self.augment = augment
        self.rng = np.random.default_rng(seed)  # <-- here

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, i):
        wave = self.clean[i]
        if self.augment:
            wave = wave * self.rng.uniform(0.7, 1.3) + self.rng.normal(0, 0.25, LENGTH)  # <-- here
        return wave.astype(np.float32), self.kind[i]




class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(8),
        )
        self.fc = nn.Linear(256, 3)

    def forward(self, wave):
        return self.fc(self.conv(wave.unsqueeze(1)).flatten(1))


def main():
    torch.manual_seed(3)
    train = DataLoader(Waveforms(1200, 1, augment=True), batch_size=40, shuffle=True, num_workers=2)  # <-- here
    test = DataLoader(Waveforms(300, 2, augment=False), batch_size=100)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(4):
        net.train()
        for wave, kind in train:
            optimizer.zero_grad()
            loss = criterion(net(wave), kind)
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            good = sum((net(wave).argmax(1) == kind).sum().item() for wave, kind in test)
        print(f"epoch {epoch + 1}: last batch loss {loss.item():.3f}, test accuracy {good / 300:.3f}")


if __name__ == "__main__":
    main()
