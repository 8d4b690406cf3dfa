import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split
from sklearn.datasets import load_digits


class Stage(nn.Module):
    """a layer followed by its squashing function"""

    def __init__(self, layer, squash):
        super().__init__()
        self.layer = layer
        self.squash = squash

    def forward(self, x):
        return self.squash(self.layer(x))  # <-- here


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            Stage(nn.Conv2d(1, 12, 3, padding=1), nn.Tanh()),
            nn.AvgPool2d(2),
            Stage(nn.Conv2d(12, 24, 3, padding=1), nn.Tanh()),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Sequential(
            Stage(nn.Linear(96, 48), nn.Tanh()),
            Stage(nn.Linear(48, 10), nn.Sigmoid()),  # <-- here
        )

    def forward(self, images):
        return self.classifier(self.features(images))


class Trainer:
    def __init__(self, model, train_set, valid_set, lr=3e-3, batch_size=32):
        self.model = model
        self.train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
        self.valid_loader = DataLoader(valid_set, batch_size=256)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.AdamW(model.parameters(), lr=lr)

    def _step(self, images, labels):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.criterion(self.model(images), labels)  # <-- here
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def fit(self, epochs):
        for epoch in range(1, epochs + 1):
            self.model.train()
            losses = [self._step(*batch) for batch in self.train_loader]
            print(f"epoch {epoch}: loss {torch.stack(losses).mean():.3f}, valid accuracy {self.accuracy():.3f}")

    @torch.inference_mode()
    def accuracy(self):
        self.model.eval()
        hits = 0
        for images, labels in self.valid_loader:
            hits += (self.model(images).argmax(-1) == labels).sum().item()
        return hits / len(self.valid_loader.dataset)


if __name__ == "__main__":
    torch.manual_seed(3)
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    labels = torch.tensor(bunch.target)
    train_set, valid_set = random_split(TensorDataset(images, labels), [1437, 360])
    Trainer(LeNet(), train_set, valid_set).fit(8)
