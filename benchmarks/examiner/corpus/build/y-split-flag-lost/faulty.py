"""8x8 digit recognition; datasets choose their part through train=True/False."""
import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DigitsBase(Dataset):
    """The first 75 % of a fixed permutation are for training."""

    def __init__(self, train=True, split_seed=123):
        bunch = load_digits()
        order = np.random.default_rng(split_seed).permutation(len(bunch.target))
        edge = int(0.75 * len(order))
        chosen = order[:edge] if train else order[edge:]
        self.images = bunch.images[chosen].astype(np.float32)
        self.targets = bunch.target[chosen]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]), int(self.targets[index])


class DigitVectors(DigitsBase):
    """Flattened and scaled to [-1, 1]."""

    def __init__(self, train=True, offset=8.0, **kwargs):
        super().__init__(**kwargs)  # <-- here
        self.offset = offset

    def __getitem__(self, index):
        image, target = super().__getitem__(index)
        return image.flatten() / self.offset - 1.0, target


class Maxout(nn.Module):
    def __init__(self, n_in, n_out, pieces=2):
        super().__init__()
        self.lin = nn.Linear(n_in, n_out * pieces)
        self.pieces = pieces

    def forward(self, x):
        return self.lin(x).unflatten(-1, (-1, self.pieces)).amax(dim=-1)


def build_model():
    return nn.Sequential(Maxout(64, 48), nn.Dropout(0.2), Maxout(48, 48), nn.Linear(48, 10))


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad, self.state = patience, -1.0, 0, None

    def __call__(self, score, model):
        if score > self.best:
            self.best, self.bad = score, 0
            self.state = copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    results = [(model(x).argmax(1) == t) for x, t in loader]  # <-- here
    return torch.cat(results).float().mean().item()


def main():
    torch.manual_seed(4)
    train_loader = DataLoader(DigitVectors(train=True), batch_size=32, shuffle=True)
    test_loader = DataLoader(DigitVectors(train=False), batch_size=150)  # <-- here
    model = build_model()
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.NAdam(model.parameters(), lr=1.5e-3)
    stopper = EarlyStopping(patience=3)
    for epoch in range(1, 11):
        model.train()
        for vectors, targets in train_loader:
            optimizer.zero_grad(set_to_none=True)
            loss = loss_function(model(vectors), targets)
            loss.backward()
            optimizer.step()
        score = accuracy(model, test_loader)
        print(f"epoch {epoch:2d}: last loss {loss.item():.3f}, test accuracy {score:.4f}")
        if stopper(score, model):
            print("no progress, stopping")
            break
    model.load_state_dict(stopper.state)
    print("kept model:", round(accuracy(model, test_loader), 4))


if __name__ == "__main__":
    main()
