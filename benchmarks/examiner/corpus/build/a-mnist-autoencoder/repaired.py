import gzip
import os

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(123)


def load_images(name, n):
    with gzip.open(os.path.join(os.environ["NETWRIGHT_DATA"], "mnist", name)) as f:
        raw = np.frombuffer(f.read(16 + n * 784), dtype=np.uint8, offset=16).reshape(n, 784)
    img = torch.tensor(raw, dtype=torch.float32) / 255
    return (img - 0.5) / 0.5


class AutoEncoder(nn.Module):
    def __init__(self):
        super(AutoEncoder, self).__init__()
        self.encoder = nn.Sequential(
            nn.Linear(784, 128),
            nn.ReLU(),
            nn.Linear(128, 32),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.Linear(32, 128),
            nn.ReLU(),
            nn.Linear(128, 784),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


train = DataLoader(TensorDataset(load_images("train-images-idx3-ubyte.gz", 5000)), batch_size=64, shuffle=True)
test_images = load_images("t10k-images-idx3-ubyte.gz", 1000)

autoencoder = AutoEncoder()
distance = nn.MSELoss()
optimizer = torch.optim.Adam(autoencoder.parameters(), lr=1e-3)

for epoch in range(4):
    autoencoder.train()
    for (img,) in train:
        output = autoencoder(img)
        loss = distance(output, img)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    autoencoder.eval()
    with torch.no_grad():
        rec = autoencoder(test_images)
    print("epoch [{}/4], loss:{:.4f}, test error {:.4f} (mean image {:.4f})".format(
        epoch + 1, loss.item(), ((rec - test_images) ** 2).mean().item(),
        ((test_images - test_images.mean(0)) ** 2).mean().item()))
