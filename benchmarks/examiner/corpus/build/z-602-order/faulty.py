# Denoising autoencoder for 8x8 digits (course exercise 4)
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

rs = np.random.RandomState(42)
torch.manual_seed(42)

digits = load_digits().data.astype("float32") / 16.0
perm = rs.permutation(len(digits))
x_train = torch.from_numpy(digits[perm[:1400]])
x_test = torch.from_numpy(digits[perm[1400:]])


class DenoisingAE(nn.Module):
    def __init__(self, bottleneck=16):
        super(DenoisingAE, self).__init__()
        self.enc = nn.Sequential(
            nn.Linear(64, 48),
            nn.ELU(),
            nn.Linear(48, bottleneck),
            nn.ELU(),
        )
        self.dec = nn.Sequential(
            nn.Linear(bottleneck, 48),
            nn.ELU(),
            nn.Linear(48, 64),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.dec(self.enc(x))


def corrupt(x, level=0.15):
    return (x + level * torch.randn_like(x)).clamp(0, 1)


model = DenoisingAE()
loss_func = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.004)
x_test_noisy = corrupt(x_test)

n_epochs, bs = 12, 50
history = {"train": [], "test": []}
for epoch in range(n_epochs):
    model.train()
    shuffled = torch.randperm(x_train.shape[0])
    running = 0.0
    for start in range(0, x_train.shape[0], bs):
        xb = x_train[shuffled[start:start + bs]]
        out = model(corrupt(xb))
        loss = loss_func(out, xb)
        loss.backward()
        optimizer.zero_grad()  # <-- here
        optimizer.step()
        running += loss.item() * xb.shape[0]
    history["train"].append(running / x_train.shape[0])

    model.eval()
    with torch.no_grad():
        history["test"].append(loss_func(model(x_test_noisy), x_test).item())
    print("epoch %02d   train mse %.4f   test mse %.4f" % (epoch + 1, history["train"][-1], history["test"][-1]))

mean_image = x_train.mean(0, keepdim=True)
print("baseline (mean image): %.4f" % ((x_test - mean_image) ** 2).mean().item())
