import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits


class VectorQuantizer(nn.Module):
    def __init__(self, num_codes, dim, beta=0.25):
        super().__init__()
        self.codebook = nn.Embedding(num_codes, dim)
        self.codebook.weight.data.normal_(0, 0.3)
        self.beta = beta

    def forward(self, z):
        b, c, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, c)
        dist = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.codebook.weight.t() + self.codebook.weight.pow(2).sum(1)
        codes = dist.argmin(1)
        q = self.codebook(codes).view(b, h, w, c).permute(0, 3, 1, 2)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(z, q.detach())
        q = z + (q - z).detach()
        return q, loss, codes


class VQVAE(nn.Module):
    def __init__(self, dim=8, num_codes=32):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, dim, 3, padding=1))
        self.vq = VectorQuantizer(num_codes, dim)
        self.dec = nn.Sequential(
            nn.Conv2d(dim, 16, 3, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1))

    def forward(self, x):
        z, vq_loss, codes = self.vq(self.enc(x))
        return self.dec(z), vq_loss, codes


def main():
    torch.manual_seed(5)
    imgs = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16 - 0.3
    imgs = imgs[torch.randperm(len(imgs))]
    train, test = imgs[:1500], imgs[1500:]
    vqvae = VQVAE()
    optimizer = torch.optim.Adam(vqvae.parameters(), lr=3e-3)
    for epoch in range(12):
        vqvae.train()
        rec_sum = 0.0
        for x in train[torch.randperm(len(train))].split(60):
            out, vq_loss, _ = vqvae(x)
            rec = F.mse_loss(out, x)
            optimizer.zero_grad()
            (rec + vq_loss).backward()
            optimizer.step()
            rec_sum += rec.item() * len(x)
        vqvae.eval()
        with torch.no_grad():
            out, _, codes = vqvae(test)
        if epoch % 2:
            print("epoch", epoch, "train rec %.4f" % (rec_sum / len(train)), "test rec %.4f" % F.mse_loss(out, test).item(),
                  "codes in use", codes.unique().numel(), "variance %.4f" % test.var().item())


if __name__ == "__main__":
    main()
