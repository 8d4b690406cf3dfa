import math
import numpy as np
import torch
import torch.nn as nn

K = 5


class MDN(nn.Module):
    def __init__(self, n_hidden=40, n_components=K):
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(1, n_hidden), nn.Tanh())
        self.pi = nn.Linear(n_hidden, n_components)
        self.mu = nn.Linear(n_hidden, n_components)
        self.log_sigma = nn.Linear(n_hidden, n_components)

    def forward(self, x):
        h = self.hidden(x)
        return torch.log_softmax(self.pi(h), dim=-1), self.mu(h), self.log_sigma(h).clamp(-5, 3)


def mdn_nll(log_pi, mu, log_sigma, y):
    z = (y - mu) * torch.exp(-log_sigma)
    log_prob = -0.5 * z ** 2 - log_sigma - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(log_pi + log_prob, dim=-1).mean()


np.random.seed(0)
torch.manual_seed(0)
t = np.random.uniform(-1, 1, (2400, 1)).astype(np.float32)
x = t + 0.3 * np.sin(2 * np.pi * t) + 0.05 * np.random.randn(2400, 1).astype(np.float32)
x, t = torch.from_numpy(x / x.std()), torch.from_numpy(t)
x_fit, t_fit, x_hold, t_hold = x[:2000], t[:2000], x[2000:], t[2000:]

net = MDN()
opt = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(400):
    i = torch.randint(0, len(x_fit), (128,))
    loss = mdn_nll(*net(x_fit[i]), t_fit[i])
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 80 == 79:
        with torch.no_grad():
            print(f"step {step + 1} batch nll {loss.item():.3f} held-out nll {mdn_nll(*net(x_hold), t_hold).item():.3f}")
