"""(a) MNIST with 784-128-64-10, sigmoid, and a ReLU on the output: FAULTY ON PURPOSE. Do not repair it here.

`netwright examine a_relu_on_output.py` says what is wrong with it and why; a_repaired.py differs in one line.
This is plain PyTorch: netwright only reads the data.
"""

import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import netwright as nw


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 128)
        self.second = nn.Linear(128, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, images):
        x = images.flatten(start_dim=1)
        x = torch.sigmoid(self.first(x))
        x = torch.sigmoid(self.second(x))
        return torch.relu(self.output(x))  # faulty on purpose: cross-entropy wants logits, negative ones too


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    data = nw.load("mnist", validation=0, limit=args.limit, seed=args.seed)
    train_loader = DataLoader(TensorDataset(*data.train.prepared(slice(None))), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(*data.test.prepared(slice(None))), batch_size=1000)

    model = Network()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()

        model.eval()
        with torch.no_grad():
            correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in test_loader)
        print(f"epoch {epoch}: test accuracy {correct / len(data.test):.2%}")


if __name__ == "__main__":
    main()
