import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class LitModule(nn.Module):
    """A small stand-in for a Lightning module."""

    def __init__(self, hidden=32, lr=1e-2):
        super().__init__()
        self.hparams = {"hidden": hidden, "lr": lr}
        self.logged = {}

    def log(self, name, value):
        self.logged.setdefault(name, []).append(float(value))

    def flush(self):
        means = {k: sum(v) / len(v) for k, v in self.logged.items()}
        self.logged.clear()
        return means


class MoonClassifier(LitModule):
    def __init__(self, hidden=32, lr=1e-2):
        super().__init__(hidden, lr)
        self.net = nn.Sequential(
            nn.Linear(2, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x):
        return self.net(x)[:, 0]

    def shared_step(self, batch, stage):
        x, y = batch
        logits = self(x)
        loss = self.loss(logits, y)
        self.log(f"{stage}_loss", loss.detach())
        self.log(f"{stage}_acc", ((logits > 0) == y.bool()).float().mean())
        return loss

    def training_step(self, batch):
        return self.shared_step(batch, "train")

    def validation_step(self, batch):
        return self.shared_step(batch, "val")

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])


class Runner:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs

    def fit(self, module, train_loader, val_loader):
        optimizer = module.configure_optimizers()
        for epoch in range(self.max_epochs):
            module.train()
            for batch in train_loader:
                loss = module.training_step(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            module.eval()
            with torch.no_grad():
                for batch in val_loader:
                    module.validation_step(batch)
            print(epoch, {k: round(v, 4) for k, v in sorted(module.flush().items())})


def moons(n, seed):
    x, y = make_moons(n, noise=0.18, random_state=seed)
    x = (torch.tensor(x, dtype=torch.float32) - torch.tensor([0.5, 0.25])) / torch.tensor([0.87, 0.5])
    return TensorDataset(x, torch.tensor(y, dtype=torch.float32))


if __name__ == "__main__":
    torch.manual_seed(77)
    train_loader = DataLoader(moons(1024, 0), batch_size=32, shuffle=True)
    val_loader = DataLoader(moons(512, 1), batch_size=128)
    Runner(max_epochs=6).fit(MoonClassifier(), train_loader, val_loader)
