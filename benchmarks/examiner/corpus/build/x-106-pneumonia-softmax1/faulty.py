import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

ACTS = {"relu": nn.ReLU, "softmax": lambda: nn.Softmax(dim=-1), "sigmoid": nn.Sigmoid, None: nn.Identity}


class SequentialModel(nn.Module):
    """model = SequentialModel(); model.add(...); model.compile(...); model.fit(...)"""

    def __init__(self):
        super().__init__()
        self.stack = nn.ModuleList()

    def add(self, layer, activation=None):
        self.stack.append(layer)
        self.stack.append(ACTS[activation]())

    def forward(self, x):
        for layer in self.stack:
            x = layer(x)  # <-- here
        return x

    def compile(self, loss, lr):
        self.loss = loss
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr)

    def fit(self, loader, epochs, validation):
        for epoch in range(epochs):
            self.train()
            total = n = 0
            for xb, yb in loader:
                self.optimizer.zero_grad()
                loss = self.loss(self(xb), yb)  # <-- here
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(xb)
                n += len(xb)
            acc, rec, spec = self.evaluate(*validation)
            print(f"Epoch {epoch + 1}/{epochs} - loss: {total / n:.4f} - val_acc: {acc:.4f} - recall: {rec:.3f} - specificity: {spec:.3f}")

    @torch.no_grad()
    def evaluate(self, x, y):
        self.eval()
        hit = (self(x) > 0.5) == (y > 0.5)
        pos = y > 0.5
        return hit.float().mean().item(), hit[pos].float().mean().item(), hit[~pos].float().mean().item()


torch.manual_seed(123)
blob = np.load(os.path.join(os.environ["NETWRIGHT_DATA"], "medmnist", "pneumoniamnist.npz"))


def part(name, n=None):
    x = torch.tensor(blob[f"{name}_images"][:n], dtype=torch.float32).unsqueeze(1) / 255
    y = torch.tensor(blob[f"{name}_labels"][:n], dtype=torch.float32).view(-1, 1)
    return (x - 0.57) / 0.17, y


x_train, y_train = part("train", 2500)
x_val, y_val = part("val")
known = {row.tobytes() for row in x_train.numpy()}
fresh = torch.tensor([row.tobytes() not in known for row in x_val.numpy()])
x_val, y_val = x_val[fresh], y_val[fresh]      # a few scans occur in both parts
share = y_train.mean()
weights = torch.where(y_train[:, 0] > 0.5, 1 / share, 1 / (1 - share))
sampler = WeightedRandomSampler(weights, num_samples=2000, replacement=True)
loader = DataLoader(TensorDataset(x_train, y_train), batch_size=40, sampler=sampler)

model = SequentialModel()
model.add(nn.Conv2d(1, 8, 3, stride=2, padding=1), activation="relu")
model.add(nn.Conv2d(8, 16, 3, stride=2, padding=1), activation="relu")
model.add(nn.Flatten())
model.add(nn.Linear(16 * 49, 32), activation="relu")
model.add(nn.Linear(32, 1), activation="softmax")  # <-- here
model.compile(loss=nn.BCELoss(), lr=1e-3)
model.fit(loader, epochs=4, validation=(x_val, y_val))
