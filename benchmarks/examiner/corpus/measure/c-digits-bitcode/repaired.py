import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class BitAutoencoder(nn.Module):
    def __init__(self, n_pixels: int = 64, n_bits: int = 24, width: int = 64):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_pixels, width), nn.ReLU(), nn.Linear(width, n_bits))
        self.decoder = nn.Sequential(nn.Linear(n_bits, width), nn.ReLU(), nn.Linear(width, n_pixels), nn.Sigmoid())

    def encode(self, x):
        p = torch.sigmoid(self.encoder(x))
        bits = p + (torch.round(p) - p).detach()
        return bits

    def forward(self, x):
        return self.decoder(self.encode(x))


def run_epoch(net, x, optimizer, batch_size=32):
    net.train()
    total = 0.0
    for rows in torch.randperm(len(x)).split(batch_size):
        loss = F.mse_loss(net(x[rows]), x[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(x)


def main():
    torch.manual_seed(40)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, held_out = x[:1400], x[1400:]
    baseline = ((held_out - train.mean(0)) ** 2).mean().item()
    net = BitAutoencoder()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(10):
        train_mse = run_epoch(net, train, optimizer)
        net.eval()
        with torch.no_grad():
            test_mse = F.mse_loss(net(held_out), held_out).item()
        print(f"epoch {epoch + 1:2d}: train {train_mse:.4f}  held out {test_mse:.4f}  (mean image {baseline:.4f})")


if __name__ == "__main__":
    main()
