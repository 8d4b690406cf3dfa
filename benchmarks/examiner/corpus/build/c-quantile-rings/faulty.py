import torch
from torch import nn
from sklearn.datasets import make_gaussian_quantiles


class GainSigmoid(nn.Module):
    """sigmoid(gain * z), shifted to -1..1"""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = gain

    def forward(self, z):
        return 2 * torch.sigmoid(self.gain * z) - 1  # <-- here


def make_net(gain):
    return nn.Sequential(
        nn.Linear(4, 24),
        GainSigmoid(gain),
        nn.Linear(24, 24),
        GainSigmoid(gain),
        nn.Linear(24, 3),
    )


class Experiment:
    def __init__(self, gain, seed=77):
        torch.manual_seed(seed)
        X, y = make_gaussian_quantiles(n_samples=2000, n_features=4, n_classes=3, random_state=seed)
        X, y = torch.tensor(X).float(), torch.tensor(y)
        self.train, self.test = (X[:1500], y[:1500]), (X[1500:], y[1500:])
        self.net = make_net(gain)
        self.opt = torch.optim.Adam(self.net.parameters(), lr=5e-3)
        self.loss = nn.CrossEntropyLoss()

    def one_epoch(self):
        X, y = self.train
        self.net.train()
        order = torch.randperm(len(X))
        for k in range(0, len(X), 50):
            rows = order[k:k + 50]
            self.opt.zero_grad()
            loss = self.loss(self.net(X[rows]), y[rows])
            loss.backward()
            self.opt.step()
        return loss.item()

    def check(self):
        X, y = self.test
        self.net.eval()
        with torch.no_grad():
            out = self.net(X)
        return self.loss(out, y).item(), (out.argmax(1) == y).float().mean().item()


exp = Experiment(gain=60.0)  # <-- here
for e in range(12):
    last = exp.one_epoch()
    if e % 2 == 1:
        print("epoch %d, last batch %.3f, test loss %.3f, test accuracy %.3f" % (e + 1, last, *exp.check()))
