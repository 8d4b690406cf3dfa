import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class Quantiser(nn.Module):
    def __init__(self, n_codes, dim, beta=0.25):
        super().__init__()
        self.codebook = nn.Embedding(n_codes, dim)
        nn.init.normal_(self.codebook.weight, std=0.3)
        self.beta = beta

    def forward(self, z):
        flat = z.reshape(-1, z.shape[-1])
        ids = torch.cdist(flat, self.codebook.weight).argmin(dim=1)
        q = self.codebook(ids).view_as(z)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(z, q.detach())
        return z + (q - z).detach(), loss, ids


class VQAE(nn.Module):
    def __init__(self, parts=8, dim=4, n_codes=16):
        super().__init__()
        self.parts, self.dim = parts, dim
        self.enc = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, parts * dim))
        self.vq = Quantiser(n_codes, dim)
        self.dec = nn.Sequential(nn.Linear(parts * dim, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        z = self.enc(x).view(-1, self.parts, self.dim)
        q, vq_loss, ids = self.vq(z)
        return self.dec(q.flatten(1)), vq_loss, ids


def evaluate(model, x, centre):
    model.eval()
    with torch.no_grad():
        recon, _, ids = model(x)
        err = F.mse_loss(recon, x).item()
        share = 1 - err / ((x - centre) ** 2).mean().item()
    return err, share, ids.unique().numel()


def main():
    torch.manual_seed(41)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, test = x[:1400], x[1400:]
    centre = train.mean(0)
    model = VQAE()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for epoch in range(16):
        model.train()
        total = 0.0
        for idx in torch.randperm(len(train)).split(56):
            recon, vq_loss, _ = model(train[idx])
            loss = F.mse_loss(recon, train[idx]) + vq_loss
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(idx)
        err, share, used = evaluate(model, test, centre)
        print(f"epoch {epoch:2d} loss {total / len(train):.4f} test mse {err:.4f} explained {share:.3f} codes used {used}")


main()
