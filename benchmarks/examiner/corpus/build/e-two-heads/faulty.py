import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Orders(Dataset):
    """Synthetic orders: which carrier takes them (3) and how many days they need."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, 12, generator=g)
        score = torch.stack([self.x[:, 0] + self.x[:, 1] * self.x[:, 2],
                             self.x[:, 3] - self.x[:, 4],
                             self.x[:, 5] + 0.5 * self.x[:, 6]], dim=1)
        self.carrier = score.argmax(1)
        days = self.x[:, 7] + torch.relu(self.x[:, 8]) + 0.3 * self.carrier
        self.days = (days - 0.7) / 1.2 + 0.1 * torch.randn(n, generator=g)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.carrier[i], self.days[i]


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.carrier_head = nn.Linear(32, 3)
        self.days_head = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.carrier_head(h), self.days_head(h).squeeze(1)


torch.manual_seed(33)
train_dl = DataLoader(Orders(2400, 1), batch_size=64, shuffle=True)
valid_dl = DataLoader(Orders(600, 2), batch_size=200)
model = TwoHeads()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

for epoch in range(5):
    model.train()
    for x, carrier, days in train_dl:
        logits, estimate = model(x)
        loss_carrier = F.cross_entropy(logits, carrier)
        loss_days = F.mse_loss(estimate, days)
        loss = loss_carrier + 0.5 * loss_days
        optimizer.zero_grad()
        loss.backward(retain_graph=True)  # <-- here
        optimizer.step()
    model.eval()
    right = squared = count = 0
    with torch.no_grad():
        for x, carrier, days in valid_dl:
            logits, estimate = model(x)
            right += (logits.argmax(1) == carrier).sum().item()
            squared += ((estimate - days) ** 2).sum().item()
            count += len(x)
    print(f"epoch {epoch}: carrier accuracy {right / count:.3f}, days mse {squared / count:.3f}")
