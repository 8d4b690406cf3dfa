import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset, random_split


class XRays(Dataset):
    def __init__(self, images, labels, transform=None):
        self.images = images
        self.labels = labels
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        x = (torch.from_numpy(self.images[index]).float().unsqueeze(0) / 255 - 0.57) / 0.17
        if self.transform is not None:
            x = self.transform(x)  # <-- here
        return x, float(self.labels[index])


def jitter(x):
    if torch.rand(()) < 0.5:
        x = x.flip(-1)
    gain = 1.0 + 0.4 * (torch.rand(()) - 0.5)
    return x * gain + 0.3 * torch.randn_like(x)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        )
        self.head = nn.Linear(32 * 16, 1)

    def forward(self, x):
        return self.head(self.body(x).flatten(1)).squeeze(1)


def validate(model, loader):
    model.eval()
    scores, truth = [], []
    with torch.no_grad():
        for x, y in loader:  # <-- here
            scores.append(model(x))
            truth.append(y)
    positive, truth = torch.cat(scores) > 0, torch.cat(truth) > 0.5
    return 0.5 * (positive[truth].float().mean() + (~positive[~truth]).float().mean()).item()


torch.manual_seed(30)
archive = np.load(os.path.join(os.environ["NETWRIGHT_DATA"], "medmnist", "pneumoniamnist.npz"))
images, labels = archive["train_images"][:2400], archive["train_labels"][:2400, 0]

dataset = XRays(images, labels, transform=jitter)  # <-- here
train_set, val_set = random_split(dataset, [2000, 400])  # <-- here
train_loader = DataLoader(train_set, batch_size=40, shuffle=True)
val_loader = DataLoader(val_set, batch_size=100)

model = Classifier()
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(1, 5):
    model.train()
    running = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y.float())
        loss.backward()
        optimizer.step()
        running += loss.item() * len(y)
    print(f"epoch {epoch}: loss {running / 2000:.3f}, balanced accuracy {validate(model, val_loader):.3f}")
