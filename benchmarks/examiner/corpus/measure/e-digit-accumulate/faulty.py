import torch
from sklearn.datasets import load_digits
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split


class Trainer:
    def __init__(self, net, train_set, val_set, lr=0.05, accumulate=2):
        self.net = net
        self.train_loader = DataLoader(train_set, batch_size=16, shuffle=True, drop_last=True)
        self.val_loader = DataLoader(val_set, batch_size=256)
        self.optim = optim.SGD(net.parameters(), lr=lr)
        self.loss_fn = nn.CrossEntropyLoss()
        self.accumulate = accumulate
        self.updates = 0

    def run_epoch(self):
        self.net.train()
        losses = []
        for i, (images, labels) in enumerate(self.train_loader):
            loss = self.loss_fn(self.net(images), labels)
            (loss / self.accumulate).backward()  # <-- here
            losses.append(loss.item())
            if (i + 1) % self.accumulate == 0:
                self.optim.step()  # <-- here
                self.updates += 1
        return sum(losses) / len(losses)

    def validate(self):
        self.net.eval()
        hits = count = 0
        with torch.no_grad():
            for images, labels in self.val_loader:
                hits += (self.net(images).argmax(1) == labels).sum().item()
                count += len(labels)
        return hits / count

    def fit(self, epochs):
        self.optim.zero_grad()
        for epoch in range(epochs):
            loss = self.run_epoch()
            print(f"[{epoch}] updates={self.updates} loss={loss:.3f} val={self.validate():.3f}")


def build_data():
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16.0
    y = torch.tensor(bunch.target)
    full = TensorDataset(x - 0.3, y)
    gen = torch.Generator().manual_seed(11)
    return random_split(full, [1437, 360], generator=gen)


if __name__ == "__main__":
    torch.manual_seed(0)
    train_set, val_set = build_data()
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 16, 10),
    )
    Trainer(net, train_set, val_set, lr=0.1).fit(epochs=6)
