import torch
import torch.nn.functional as F
from sklearn.datasets import make_circles
from sklearn.model_selection import train_test_split

torch.manual_seed(9)
xs, ys = make_circles(n_samples=1600, noise=0.08, factor=0.5, random_state=9)
x_fit, x_val, y_fit, y_val = train_test_split(torch.tensor(xs).float(), torch.tensor(ys).float(), test_size=400, random_state=9)


class RingNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(2, 24)
        self.b = torch.nn.Linear(24, 24)
        self.c = torch.nn.Linear(24, 1)

    def forward(self, p):
        h = torch.tanh(self.a(p))
        h = torch.tanh(self.b(h))
        return self.c(h).squeeze(1)


f = RingNet()
opt = torch.optim.Adam(f.parameters(), lr=5e-3)

epoch, best = 0, 0.0
while epoch < 10 and best < 0.999:
    f.train()
    for ids in torch.randperm(len(x_fit)).split(80):
        opt.zero_grad()
        logits = f(x_fit[ids])
        loss = F.binary_cross_entropy_with_logits(logits, y_fit[ids])
        loss.backward()
        opt.step()
    f.eval()
    with torch.no_grad():
        acc = ((f(x_val) > 0).float() == y_val).float().mean().item()
    best = max(best, acc)
    epoch += 1
    print("epoch", epoch, "loss", round(loss.item(), 4), "val acc", round(acc, 4))
print("best", best)
