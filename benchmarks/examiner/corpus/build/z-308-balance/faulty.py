"""Does an account end in the black? Only the transactions with the flag set were booked."""
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, Subset

BATCH = 40


class Accounts(Dataset):
    def __init__(self, n, length=20, seed=0):
        rng = np.random.default_rng(seed)
        amount = rng.normal(0, 1, size=(n, length))
        booked = rng.random((n, length)) < 0.6
        balance = (amount * booked).sum(1)
        self.x = torch.tensor(np.stack([amount, 2.0 * booked - 1.0], axis=-1), dtype=torch.float32)
        self.y = torch.tensor(balance > 0, dtype=torch.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Balance(nn.Module):
    def __init__(self, n_in=2, hidden=32):
        super().__init__()
        self.hidden_size = hidden
        self.gru = nn.GRU(n_in, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)
        self.hidden = self.init_hidden(BATCH)

    def init_hidden(self, batch):
        return torch.zeros(1, batch, self.hidden_size)

    def forward(self, x):
        out, hidden = self.gru(x, self.hidden)  # <-- here
        self.hidden = hidden.detach()  # <-- here
        return self.fc(out[:, -1]).squeeze(-1)


def accuracy(model, loader):
    model.eval()
    hit = n = 0
    with torch.no_grad():
        for x, y in loader:
            hit += ((model(x) > 0) == (y > 0.5)).sum().item()
            n += len(y)
    return hit / n


def main():
    torch.manual_seed(6)
    data = Accounts(2400)
    train_loader = DataLoader(Subset(data, range(2000)), batch_size=BATCH, shuffle=True, drop_last=True)
    test_loader = DataLoader(Subset(data, range(2000, 2400)), batch_size=BATCH)
    model = Balance()
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total += loss.item()
        print(f"Epoch {epoch:02d}  loss {total / len(train_loader):.4f}  test acc {accuracy(model, test_loader):.4f}")


if __name__ == "__main__":
    main()
