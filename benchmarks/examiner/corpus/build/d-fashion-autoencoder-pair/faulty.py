import gzip
import os

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)

folder = os.path.join(os.environ["NETWRIGHT_DATA"], "fashion-mnist")


def load_images(filename, n):
    with gzip.open(os.path.join(folder, filename)) as f:
        f.read(16)
        buf = f.read(n * 784)
    return torch.from_numpy(np.frombuffer(buf, np.uint8).reshape(n, 784).astype(np.float32) / 255)


train_x = load_images("train-images-idx3-ubyte.gz", 5000)
test_x = load_images("t10k-images-idx3-ubyte.gz", 1000)

encoder = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 16))
decoder = nn.Sequential(nn.ReLU(), nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 784), nn.Sigmoid())

mse = nn.MSELoss()
optimizer = torch.optim.Adam(decoder.parameters(), lr=2e-3)  # <-- here


def run_epoch(batch_size=100):
    encoder.train()
    decoder.train()
    perm = torch.randperm(train_x.size(0))
    running = 0.0
    for i in range(0, train_x.size(0), batch_size):
        x = train_x[perm[i:i + batch_size]]
        recon = decoder(encoder(x))
        loss = mse(recon, x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / (train_x.size(0) / batch_size)


for epoch in range(6):
    train_loss = run_epoch()
    encoder.eval()
    decoder.eval()
    with torch.no_grad():
        test_loss = mse(decoder(encoder(test_x)), test_x).item()
    print(f"Epoch {epoch + 1}/6 - train {train_loss:.4f} - test {test_loss:.4f}")

baseline = ((test_x - train_x.mean(0)) ** 2).mean().item()
print(f"mean image as the answer: {baseline:.4f}")
