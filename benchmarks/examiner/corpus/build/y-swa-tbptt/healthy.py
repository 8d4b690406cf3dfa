"""Walk-forward forecasting of transformer load (ETTh1) with SWA.

Eight parallel strands of the series are read in order, the hidden state goes
from chunk to chunk (detached), and the weights of the last epochs are averaged;
afterwards the averaged network's BatchNorm statistics are computed afresh by
running the training strands through it in training mode without gradients.
"""
import csv
import os
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel


@dataclass(frozen=True)
class Plan:
    strands: int = 8
    chunk: int = 24
    hidden: int = 32
    epochs: int = 6
    swa_from: int = 3
    lr: float = 3e-3
    swa_lr: float = 1e-3
    hours: int = 8000
    test_hours: int = 1600


PLAN = Plan()
TARGET = 2  # the useful load, after the two clock columns


def series(limit):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "ett", "ETTh1.csv")
    with open(path, newline="") as fh:
        table = csv.reader(fh)
        next(table)
        return torch.tensor([[float(v) for v in row[1:]] for row in islice(table, limit)])


class Strands:
    """Cuts a (hours, features) table into parallel strands, time first."""

    def __init__(self, table, n):
        length = len(table) // n
        self.table = table[:length * n].view(n, length, -1).transpose(0, 1).contiguous()

    def chunks(self, size):
        for start in range(0, len(self.table) - 1, size):
            piece = self.table[start:start + size + 1]
            if len(piece) > 1:
                yield piece[:-1], piece[1:, :, TARGET]


class Forecaster(nn.Module):
    """Predicts the target column one hour ahead, at every hour."""

    def __init__(self, n_features, hidden):
        super().__init__()
        self.rnn = nn.GRU(n_features, hidden)
        self.squash = nn.BatchNorm1d(hidden)
        self.out = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, x, state=None):
        h, state = self.rnn(x, state)
        time, strands, channels = h.shape
        flat = self.squash(h.reshape(time * strands, channels))
        return self.out(flat).view(time, strands), state


def one_epoch(net, strands, optimizer, criterion):
    net.train()
    state, total, count = None, 0.0, 0
    for x, y in strands.chunks(PLAN.chunk):
        if state is not None:
            state = state.detach()
        forecast, state = net(x, state)
        loss = criterion(forecast, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        total, count = total + loss.item() * y.numel(), count + y.numel()
    return total / count


@torch.no_grad()
def explained(net, strands):
    """1 - SSE/SST of the forecasts over the whole stretch."""
    net.eval()
    state, guess, truth = None, [], []
    for x, y in strands.chunks(PLAN.chunk):
        g, state = net(x, state)
        guess.append(g)
        truth.append(y)
    g, t = torch.cat(guess), torch.cat(truth)
    return (1 - (g - t).square().sum() / (t - t.mean()).square().sum()).item()


@torch.no_grad()
def recalibrate(net, strands):
    """What swa_utils.update_bn does, for a network with a carried state."""
    momenta = {}
    for m in net.modules():
        if isinstance(m, nn.BatchNorm1d):
            m.reset_running_stats()
            momenta[m], m.momentum = m.momentum, None
    net.train()
    state = None
    for x, _ in strands.chunks(PLAN.chunk):
        _, state = net(x, state)
    for m, value in momenta.items():
        m.momentum = value
    net.eval()


def main():
    torch.manual_seed(21)
    table = series(PLAN.hours)
    past, future = table[:-PLAN.test_hours], table[-PLAN.test_hours:]
    mean, std = past.mean(0), past.std(0)
    day = torch.arange(len(table)) * (2 * torch.pi / 24)
    clock = torch.stack([day.sin(), day.cos()], 1)
    scaled = torch.cat([clock, (table - mean) / std], 1)
    train = Strands(scaled[:len(past)], PLAN.strands)
    test = Strands(scaled[len(past):], 2)

    net = Forecaster(scaled.shape[1], PLAN.hidden)
    averaged = AveragedModel(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=PLAN.lr)
    late = SWALR(optimizer, swa_lr=PLAN.swa_lr, anneal_epochs=2)
    criterion = nn.MSELoss()
    for epoch in range(PLAN.epochs):
        loss = one_epoch(net, train, optimizer, criterion)
        if epoch >= PLAN.swa_from:
            averaged.update_parameters(net)
            late.step()
        print(f"epoch {epoch}: mse {loss:.4f}, explained variance ahead {explained(net, test):.4f}")
    recalibrate(averaged, train)
    print(f"averaged weights: explained variance ahead {explained(averaged, test):.4f}")


if __name__ == "__main__":
    main()
