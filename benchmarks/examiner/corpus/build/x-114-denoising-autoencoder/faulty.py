import gzip
import os
from typing import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


# --- a few transforms, torchvision style ---------------------------------------------------------
class Compose:
    def __init__(self, fns: Sequence[Callable]):
        self.fns = list(fns)

    def __call__(self, x):
        for fn in self.fns:
            x = fn(x)
        return x


class ToTensor:
    def __call__(self, a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(a.copy()).unsqueeze(0).float().div(255)


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, t):
        return (t - self.mean) / self.std


class MNISTImages(Dataset):
    def __init__(self, stem: str, count: int, transform: Callable):
        path = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", f"{stem}-images-idx3-ubyte.gz")
        with gzip.open(path) as f:
            self.raw = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 28, 28)[:count]
        self.transform = transform

    def __len__(self):
        return len(self.raw)

    def __getitem__(self, i):
        return self.transform(self.raw[i])


class AutoEncoder(nn.Module):
    def __init__(self, ch=8, code=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, ch, 4, 2, 1), nn.LeakyReLU(0.1),
            nn.Conv2d(ch, 2 * ch, 4, 2, 1), nn.LeakyReLU(0.1),
            nn.Flatten(), nn.Linear(2 * ch * 49, code), nn.SiLU())
        self.decoder = nn.Sequential(
            nn.Linear(code, 2 * ch * 49), nn.LeakyReLU(0.1), nn.Unflatten(1, (2 * ch, 7, 7)),
            nn.ConvTranspose2d(2 * ch, ch, 4, 2, 1), nn.LeakyReLU(0.1),
            nn.ConvTranspose2d(ch, 1, 4, 2, 1))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Runner:
    noise = 0.2

    def __init__(self, model, train_dl, test_dl, lr):
        self.model, self.train_dl, self.test_dl = model, train_dl, test_dl
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)

    def corrupt(self, x):
        return x + self.noise * torch.randn_like(x)

    def reconstruction_loss(self, x_hat, x):
        return F.binary_cross_entropy_with_logits(x_hat, x)  # <-- here

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for x in self.train_dl:
            loss = self.reconstruction_loss(self.model(self.corrupt(x)), x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(x)
        return total / len(self.train_dl.dataset)

    @torch.no_grad()
    def test(self):
        self.model.eval()
        se = base = n = 0.0
        mean_image = torch.stack([self.train_dl.dataset[i] for i in range(500)]).mean(0)
        for x in self.test_dl:
            se += F.mse_loss(self.model(x).sigmoid(), x, reduction="sum").item()
            base += F.mse_loss(mean_image.expand_as(x), x, reduction="sum").item()
            n += x.numel()
        return se / n, base / n

    def run(self, epochs):
        for e in range(1, epochs + 1):
            bce = self.train_epoch()
            mse, base = self.test()
            print(f"[{e}/{epochs}] bce {bce:.4f}  test mse {mse:.4f}  (mean image {base:.4f})")


def main():
    torch.manual_seed(4)
    transform = Compose([
        ToTensor(),
        Normalize(0.1307, 0.3081),  # <-- here
    ])
    train_dl = DataLoader(MNISTImages("train", 3000, transform), batch_size=50, shuffle=True)
    test_dl = DataLoader(MNISTImages("t10k", 600, transform), batch_size=200)
    Runner(AutoEncoder(), train_dl, test_dl, lr=3e-3).run(4)


if __name__ == "__main__":
    main()
