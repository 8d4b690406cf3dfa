import contextlib

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

PRECISION = {
    "fp32": contextlib.nullcontext,
    "amp": lambda: torch.autocast("cpu", dtype=torch.float16),  # <-- here
}
CONFIG = {"precision": "amp", "batch": 128, "epochs": 16, "lr": 3e-3, "code": 16, "recon_weight": 3e-4}


class AutoEncoder(nn.Module):
    def __init__(self, n_in, code):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(n_in, 64), nn.GELU(), nn.Linear(64, code), nn.Tanh())
        self.dec = nn.Sequential(nn.Linear(code, 64), nn.GELU(), nn.Linear(64, n_in))

    def forward(self, x):
        return self.dec(self.enc(x))


def reconstruction(model, noisy, clean):
    with PRECISION[CONFIG["precision"]]():
        out = model(noisy)
    return F.mse_loss(out.float(), clean)


def corrupt(x, level=0.1):
    return x + level * torch.randn_like(x)


def main():
    torch.manual_seed(23)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    centre = x[:1400].mean(0)
    train, test = x[:1400] - centre, x[1400:] - centre
    fixed_noisy = corrupt(test)
    model = AutoEncoder(64, CONFIG["code"])
    opt = torch.optim.Adam(model.parameters(), lr=CONFIG["lr"])
    base = test.square().mean().item()
    for epoch in range(CONFIG["epochs"]):
        model.train()
        total = 0.0
        for idx in torch.randperm(len(train)).split(CONFIG["batch"]):
            mse = reconstruction(model, corrupt(train[idx]), train[idx])
            loss = CONFIG["recon_weight"] * mse
            opt.zero_grad()
            loss.backward()  # <-- here
            opt.step()
            total += mse.item() * len(idx)
        model.eval()
        with torch.no_grad():
            held = reconstruction(model, fixed_noisy, test).item()
        print(f"epoch {epoch:2d} train mse {total / len(train):.5f} test {held:.5f} (mean image {base:.5f})")


if __name__ == "__main__":
    main()
