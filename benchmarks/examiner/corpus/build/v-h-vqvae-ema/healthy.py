import copy
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Quantizer(nn.Module):
    def __init__(self, codes=32, dim=8, beta=0.25):
        super().__init__()
        self.book = nn.Embedding(codes, dim)
        nn.init.normal_(self.book.weight, std=0.5)
        self.beta = beta

    def forward(self, z):
        flat = z.reshape(-1, z.size(-1))
        near = torch.cdist(flat.detach(), self.book.weight.detach()).argmin(1)
        q = self.book(near).view_as(z)
        commit = F.mse_loss(z, q.detach(), reduction="sum")
        move = F.mse_loss(q, z.detach(), reduction="sum")
        return z + (q - z).detach(), move + self.beta * commit, near


class VQVAE(nn.Module):
    def __init__(self, slots=8, dim=8):
        super().__init__()
        self.slots, self.dim = slots, dim
        self.enc = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, slots * dim))
        self.vq = Quantizer(dim=dim)
        self.dec = nn.Sequential(nn.Linear(slots * dim, 96), nn.SiLU(), nn.Linear(96, 64))

    def forward(self, x):
        z = self.enc(x).view(-1, self.slots, self.dim)
        q, aux, near = self.vq(z)
        return self.dec(q.flatten(1)), aux, near


@torch.no_grad()
def ema_update(avg, net, decay=0.97):
    for a, p in zip(avg.parameters(), net.parameters()):
        a.lerp_(p, 1 - decay)


def evaluate(net, x):
    net.eval()
    with torch.no_grad():
        rec, _, near = net(x)
    return F.mse_loss(rec, x).item(), near.unique().numel()


def main():
    torch.manual_seed(50)
    x = torch.tensor(load_digits().data / 16.0, dtype=torch.float32)
    train, test = train_test_split(x, test_size=300, random_state=50)
    net = VQVAE()
    avg = copy.deepcopy(net).requires_grad_(False)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    print("variance of test pixels %.4f" % (test - train.mean(0)).pow(2).mean())
    for epoch in range(12):
        net.train()
        total = 0.0
        for rows in torch.randperm(len(train)).split(48):
            b = train[rows]
            rec, aux, _ = net(b)
            loss = F.mse_loss(rec, b, reduction="sum") + aux
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema_update(avg, net)
            total += loss.item()
        if epoch % 3 == 2:
            mse, used = evaluate(avg, test)
            print(f"epoch {epoch + 1}: loss/example {total / len(train):.3f}  test mse {mse:.4f}  codes used {used}")


main()
