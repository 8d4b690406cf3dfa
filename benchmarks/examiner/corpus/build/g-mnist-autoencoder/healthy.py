import gzip
import os
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader

path = os.path.join(os.environ["NETWRIGHT_DATA"], "mnist")


def images(fname, count):
    raw = gzip.open(os.path.join(path, fname)).read(16 + count * 784)
    return torch.tensor(np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(count, 784) / 255.0, dtype=torch.float32)


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 128),
            nn.ReLU(),
            nn.Linear(128, 24),
            nn.LeakyReLU(0.2),
        )
        self.decoder = nn.Sequential(
            nn.Linear(24, 128),
            nn.ReLU(),
            nn.Linear(128, 784),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


train_imgs = images("train-images-idx3-ubyte.gz", 8000)
test_imgs = images("t10k-images-idx3-ubyte.gz", 1000)
loader = DataLoader(train_imgs, batch_size=80, shuffle=True)

ae = Autoencoder()
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(ae.parameters(), lr=2e-3, weight_decay=1e-6)

with torch.no_grad():
    print("error of the mean image:", criterion(train_imgs.mean(0).expand_as(test_imgs), test_imgs).item())
for epoch in range(4):
    ae.train()
    for batch in loader:
        recon = ae(batch)
        loss = criterion(recon, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    ae.eval()
    with torch.no_grad():
        print(f"Epoch:{epoch + 1}, last batch {loss.item():.4f}, test reconstruction {criterion(ae(test_imgs), test_imgs).item():.4f}")
