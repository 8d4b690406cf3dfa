import gzip
import os

import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split


class FashionData:
    """Small data module in the manner of Lightning."""

    def __init__(self, n=3000, val_fraction=0.2, batch_size=50):
        self.batch_size = batch_size
        folder = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")
        with gzip.open(os.path.join(folder, "train-images-idx3-ubyte.gz")) as f:
            raw = np.frombuffer(f.read(16 + n * 784), dtype=np.uint8, offset=16)
        with gzip.open(os.path.join(folder, "train-labels-idx1-ubyte.gz")) as f:
            tags = np.frombuffer(f.read(8 + n), dtype=np.uint8, offset=8)
        pixels = torch.tensor(raw.reshape(n, 1, 28, 28), dtype=torch.float32) / 255.0
        pixels = (pixels - 0.286) / 0.353
        self.full = TensorDataset(pixels, torch.tensor(tags, dtype=torch.long))
        self.sizes = [n - int(n * val_fraction), int(n * val_fraction)]

    def train_dataloader(self):
        part, _ = random_split(self.full, self.sizes)  # <-- here
        return DataLoader(part, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self):
        _, part = random_split(self.full, self.sizes)  # <-- here
        return DataLoader(part, batch_size=200)


class LitClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        )
        self.classifier = nn.Linear(16 * 7 * 7, 10)
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))

    def training_step(self, batch):
        x, y = batch
        return self.criterion(self(x), y)

    def validation_step(self, batch):
        x, y = batch
        scores = self(x)  # <-- here
        return (scores.argmax(1) == y).sum().item(), len(y)

    def configure_optimizers(self):
        return optim.AdamW(self.parameters(), lr=2e-3)


def fit(module, data, max_epochs):
    train, val = data.train_dataloader(), data.val_dataloader()
    opt = module.configure_optimizers()
    for epoch in range(max_epochs):
        module.train()
        losses = []
        for batch in train:
            loss = module.training_step(batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.detach())
        module.eval()
        with torch.no_grad():
            parts = [module.validation_step(b) for b in val]
        hits, seen = map(sum, zip(*parts))
        print(f"epoch {epoch}: train_loss={torch.stack(losses).mean():.3f} val_acc={hits / seen:.3f}")


if __name__ == "__main__":
    torch.manual_seed(2)
    fit(LitClassifier(), FashionData(), max_epochs=4)
