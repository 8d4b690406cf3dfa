from typing import Callable, Dict, List

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Engine:
    def __init__(self, network: nn.Module, loss: Callable, optimizer: torch.optim.Optimizer):
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.history: List[Dict[str, float]] = []
        self.callbacks: List[Callable] = []

    def compute_loss(self, y_true, y_pred):
        return self.loss(y_pred, y_true)

    def train_batch(self, x, y):
        self.network.train()
        self.optimizer.zero_grad()
        value = self.compute_loss(y, self.network(x))
        value.backward()
        self.optimizer.step()
        return value.item()

    def evaluate(self, loader):
        self.network.eval()
        right = count = 0
        with torch.no_grad():
            for x, y in loader:
                right += int((self.network(x).argmax(1) == y.argmax(1)).sum())
                count += len(x)
        return right / count

    def run(self, train_loader, test_loader, epochs):
        for epoch in range(epochs):
            losses = [self.train_batch(x, y) for x, y in train_loader]
            self.history.append({"loss": sum(losses) / len(losses), "accuracy": self.evaluate(test_loader)})
            for callback in self.callbacks:
                callback(epoch, self.history[-1])


def dataset(x, y):
    return TensorDataset(torch.tensor(x / 16, dtype=torch.float32),
                         nn.functional.one_hot(torch.tensor(y), 10).float())


torch.manual_seed(0)
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=1)
network = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 10))
engine = Engine(network, nn.CrossEntropyLoss(), torch.optim.AdamW(network.parameters(), lr=2e-3))
engine.callbacks.append(lambda epoch, logs: print(epoch, {k: round(v, 4) for k, v in logs.items()}))
engine.run(DataLoader(dataset(x_train, y_train), batch_size=32, shuffle=True),
           DataLoader(dataset(x_test, y_test), batch_size=128), epochs=8)
