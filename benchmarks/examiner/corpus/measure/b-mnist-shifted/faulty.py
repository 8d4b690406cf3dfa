import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def read_idx(name, count, item, skip):
    with gzip.open(os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", name)) as f:
        return np.frombuffer(f.read(skip + count * item), np.uint8, offset=skip)


class MNIST(Dataset):
    def __init__(self, split, count, augment=True):  # <-- here
        images = read_idx(f"{split}-images-idx3-ubyte.gz", count, 784, 16).reshape(-1, 1, 28, 28)
        self.images = torch.from_numpy(images.astype(np.float32) / 255)
        self.labels = torch.from_numpy(read_idx(f"{split}-labels-idx1-ubyte.gz", count, 1, 8).astype(np.int64))
        self.augment = augment

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        img = self.images[i]
        if self.augment:
            dy, dx = torch.randint(-4, 5, (2,)).tolist()  # <-- here
            img = img.roll((dy, dx), dims=(1, 2))
            top, left = torch.randint(4, 16, (2,)).tolist()
            img = img.clone()
            img[:, top:top + 8, left:left + 8] = 0.0
        return img, self.labels[i]


def build():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv2d(12, 24, 5, stride=2, padding=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 49, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, 10),
    )


def main(epochs=4):
    torch.manual_seed(9)
    train_set = MNIST("train", 4000)
    test_set = MNIST("t10k", 800)  # <-- here
    train_loader = DataLoader(train_set, batch_size=50, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=200)
    model, criterion = build(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1.5e-3)
    for epoch in range(epochs):
        model.train()
        for images, labels in train_loader:
            loss = criterion(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        correct, test_loss = 0, 0.0
        with torch.no_grad():
            for images, labels in test_loader:  # <-- here
                logits = model(images)
                correct += (logits.argmax(1) == labels).sum().item()
                test_loss += criterion(logits, labels).item() * len(labels)
        print(f"epoch {epoch + 1}: test loss {test_loss / len(test_set):.3f}, accuracy {correct / len(test_set):.3f}")


if __name__ == "__main__":
    main()
