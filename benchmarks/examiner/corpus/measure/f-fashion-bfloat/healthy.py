import argparse
import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def read(folder, kind, offset):
    path = os.path.join(folder, "fashion-mnist", f"t10k-{kind}-ubyte.gz")
    with gzip.open(path, "rb") as f:
        return np.frombuffer(f.read(), dtype=np.uint8, offset=offset).copy()


def get_loaders(folder, batch):
    x = torch.from_numpy(read(folder, "images-idx3", 16)).view(-1, 784).float() / 255
    y = torch.from_numpy(read(folder, "labels-idx1", 8)).long()
    keep = torch.randperm(len(x))[:4000]
    x, y = (x[keep] - 0.286) / 0.353, y[keep]
    train = DataLoader(TensorDataset(x[:3200], y[:3200]), batch_size=batch, shuffle=True)
    return train, DataLoader(TensorDataset(x[3200:], y[3200:]), batch_size=200)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--data", default=os.environ.get("NETWRIGHT_DATA", "."))
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--device", default="cpu")
    args = ap.parse_args()
    torch.manual_seed(0)
    train, test = get_loaders(args.data, args.batch)
    model = nn.Sequential(nn.Linear(784, 128), nn.LayerNorm(128), nn.GELU(), nn.Linear(128, 64), nn.GELU(), nn.Linear(64, 10)).to(args.device)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3 * args.lr, total_steps=args.epochs * len(train))
    for epoch in range(args.epochs):
        model.train()
        for x, y in train:
            x, y = x.to(args.device), y.to(args.device)
            with torch.autocast(args.device, dtype=torch.bfloat16):
                loss = loss_fn(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        hits = 0
        with torch.inference_mode(), torch.autocast(args.device, dtype=torch.bfloat16):
            for x, y in test:
                hits += (model(x.to(args.device)).argmax(1).cpu() == y).sum().item()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f} accuracy {hits / len(test.dataset):.3f}")


if __name__ == "__main__":
    main()
