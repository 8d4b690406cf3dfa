import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HERE = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")
BATCH_SIZE = 60
LEARNING_RATE = 2e-3
NUM_EPOCHS = 3


def mnist(which, count):
    with gzip.open(os.path.join(HERE, which + "-images-idx3-ubyte.gz")) as fh:
        fh.read(16)
        x = np.frombuffer(fh.read(count * 784), dtype=np.uint8).reshape(count, 1, 28, 28)
    with gzip.open(os.path.join(HERE, which + "-labels-idx1-ubyte.gz")) as fh:
        fh.read(8)
        y = np.frombuffer(fh.read(count), dtype=np.uint8)
    return TensorDataset((torch.from_numpy(x.copy()).float() / 255 - 0.1307) / 0.3081, torch.from_numpy(y.copy()).long())


train_dataset = mnist("train", 3000)
test_dataset = mnist("t10k", 1000)
train_loader = DataLoader(train_dataset, batch_size=BATCH_SIZE, shuffle=True)
test_loader = DataLoader(test_dataset, batch_size=BATCH_SIZE, shuffle=False)


class MixerLayer(nn.Module):
    def __init__(self, tokens, dim, expand=2):
        super().__init__()
        self.norm_t, self.norm_c = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.token_mlp = nn.Sequential(nn.Linear(tokens, expand * tokens), nn.GELU(), nn.Linear(expand * tokens, tokens))
        self.channel_mlp = nn.Sequential(nn.Linear(dim, expand * dim), nn.GELU(), nn.Linear(expand * dim, dim))

    def forward(self, x):
        x = x + self.token_mlp(self.norm_t(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mlp(self.norm_c(x))


class Mixer(nn.Module):
    def __init__(self, patch=7, dim=32, depth=2, classes=10):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, kernel_size=patch, stride=patch)
        self.layers = nn.Sequential(*[MixerLayer((28 // patch) ** 2, dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.classify = nn.Linear(dim, classes)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        return self.classify(self.norm(self.layers(tokens)).mean(dim=1))


def train_one_epoch(model, loader, optimizer, criterion):
    model.train()
    seen, loss_sum = 0, 0.0
    for images, labels in loader:
        logits = model(images)
        loss = criterion(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * labels.size(0)
        seen += labels.size(0)
    return loss_sum / seen


def evaluate(model, loader):
    model.eval()
    correct, seen = 0, 0
    with torch.no_grad():
        for images, labels in loader:
            predictions = model(images).argmax(dim=1)
            correct += (predictions == labels).sum().item()
            seen += labels.size(0)
    return correct / seen


def main():
    torch.manual_seed(10)
    model = Mixer()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for epoch in range(NUM_EPOCHS):
        train_loss = train_one_epoch(model, train_loader, optimizer, criterion)
        test_acc = evaluate(model, test_loader)
        print(f"Epoch {epoch + 1}/{NUM_EPOCHS}: train loss {train_loss:.4f}, test accuracy {test_acc:.2%}")


if __name__ == "__main__":
    main()
