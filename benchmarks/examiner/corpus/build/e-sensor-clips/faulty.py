import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES = ["off", "slow", "fast", "chirp"]


def make_clips(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, 64)
    kind = torch.randint(1, 4, (n,), generator=g)
    kind[torch.rand(n, generator=g) < 0.02] = 0
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    wobble = 0.8 + 0.4 * torch.rand(n, 1, generator=g)
    slow = torch.sin(2 * math.pi * 3 * wobble * t + phase)
    fast = torch.sin(2 * math.pi * 9 * wobble * t + phase)
    chirp = torch.sin(2 * math.pi * (2 + 7 * t) * wobble * t + phase)
    clips = torch.stack([torch.zeros_like(slow), slow, fast, chirp], dim=1)[torch.arange(n), kind]
    gain = 0.5 + torch.rand(n, 1, generator=g)
    noise = 0.2 * torch.randn(n, 64, generator=g)
    clips = gain * (clips + noise)
    level = torch.randint(-4096, 4096, (n, 1), generator=g) / 4096
    clips = torch.where((kind == 0).unsqueeze(1), level, clips)
    return TensorDataset(clips.unsqueeze(1), kind)


class ClipNet(nn.Module):
    def __init__(self, n_classes=4):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 12, 7, padding=3)
        self.conv2 = nn.Conv1d(12, 24, 5, padding=2)
        self.fc = nn.Linear(24, n_classes)

    def forward(self, x):
        centred = x - x.mean(dim=-1, keepdim=True)
        x = centred / x.std(dim=-1, keepdim=True)  # <-- here
        x = F.max_pool1d(F.relu(self.conv1(x)), 2)
        x = F.relu(self.conv2(x)).mean(dim=-1)
        return self.fc(x)


def run():
    torch.manual_seed(6)
    train = DataLoader(make_clips(1600, 1), batch_size=32, shuffle=True)
    test = DataLoader(make_clips(400, 2), batch_size=400)
    net = ClipNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for epoch in range(5):
        net.train()
        loss_sum = 0.0
        for clips, kinds in train:
            optimizer.zero_grad()
            loss = F.cross_entropy(net(clips), kinds)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(kinds)
        net.eval()
        with torch.no_grad():
            correct = sum((net(c).argmax(1) == k).sum().item() for c, k in test)
        print(f"epoch {epoch} loss {loss_sum / 1600:.4f} accuracy {correct / 400:.3f}")


if __name__ == "__main__":
    run()
