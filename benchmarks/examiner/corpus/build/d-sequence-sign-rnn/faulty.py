"""Elman network on sequences of very different length (one length per batch):
is the sum of the last four readings positive?"""
import torch
from torch import nn

HIDDEN = 40
BATCH = 32


def make_batch(length, n=BATCH):
    x = torch.randn(n, length, 1)
    y = (x[:, -4:, 0].sum(dim=1) > 0).float()
    return x, y


def buckets():
    count = 0
    while True:
        count += 1
        if count % 15 == 0:
            yield make_batch(90)
        else:
            yield make_batch(int(torch.randint(6, 14, ())))


class Elman(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(1, HIDDEN, batch_first=True)
        self.readout = nn.Linear(HIDDEN, 1)
        nn.init.orthogonal_(self.rnn.weight_hh_l0, gain=nn.init.calculate_gain("tanh"))
        nn.init.normal_(self.rnn.weight_ih_l0, std=0.3)

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.readout(states[:, -1]).squeeze(1)


@torch.no_grad()
def accuracy(net):
    net.eval()
    hits = total = 0
    for length in range(6, 14):
        x, y = make_batch(length, 250)
        hits += ((net(x) > 0) == (y > 0.5)).sum().item()
        total += len(y)
    net.train()
    return hits / total


torch.manual_seed(0)
net = Elman()
bce = nn.BCEWithLogitsLoss()
opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

recent = []
for step, (x, y) in enumerate(buckets(), start=1):
    opt.zero_grad()
    loss = bce(net(x), y)
    loss.backward()  # <-- here
    opt.step()  # <-- here
    recent.append(loss.item())
    if step % 60 == 0:
        print(f"step {step:4d}  loss {sum(recent) / len(recent):.4f}  accuracy on new sequences {accuracy(net):.3f}")
        recent.clear()
    if step == 240:
        break
