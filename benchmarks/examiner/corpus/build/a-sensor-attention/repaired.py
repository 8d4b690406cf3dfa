import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class PulseDataset(Dataset):
    """Noisy two-channel recordings; the label is the shape of one short pulse at a random place."""

    def __init__(self, n, length=40, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.x = torch.randn(n, length, 3, generator=g) * 0.8
        self.y = torch.randint(4, (n,), generator=g)
        where = torch.randint(2, length - 3, (n,), generator=g)
        shapes = torch.tensor([[[2., 0.], [2., 0.]], [[0., 2.], [0., 2.]], [[2., 2.], [-2., -2.]], [[-2., 2.], [2., -2.]]])
        for i in range(n):
            t = int(where[i])
            self.x[i, t:t + 2, :2] += shapes[self.y[i]]
            self.x[i, t:t + 2, 2] += 3.0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class AttentionPool(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))

    def forward(self, states):
        scores = self.query(states)
        weights = torch.softmax(scores, dim=1)
        return (weights * states).sum(dim=1)


class PulseNet(nn.Module):
    def __init__(self, hidden=32, classes=4):
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.pool = AttentionPool(hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x):
        states, _ = self.gru(x)
        return self.head(self.pool(states))


def main():
    torch.manual_seed(5)
    train = DataLoader(PulseDataset(1000, seed=1), batch_size=50, shuffle=True)
    test = DataLoader(PulseDataset(400, seed=2), batch_size=200)
    model = PulseNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(6):
        model.train()
        for x, y in train:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()

        model.eval()
        good = total = 0
        with torch.no_grad():
            for x, y in test:
                good += (model(x).argmax(1) == y).sum().item()
                total += y.numel()
        print(f"epoch {epoch + 1}/6  last batch loss {loss.item():.3f}  test {good / total:.3f}")


if __name__ == "__main__":
    main()
