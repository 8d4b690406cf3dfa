"""Adds the two marked numbers of a sequence; the sequences get longer stage by stage."""
import torch
from torch import nn


class Adder(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.rnn = nn.GRU(2, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, seq):
        out, _ = self.rnn(seq)
        return self.readout(out[:, -1])


def make_batch(n, length):
    values = torch.rand(n, length) * 2 - 1
    marks = torch.zeros(n, length)
    where = torch.rand(n, length).topk(2, dim=1).indices
    marks.scatter_(1, where, 1.0)
    target = (values * marks).sum(dim=1, keepdim=True)
    return torch.stack([values, marks], dim=2), target


def main():
    torch.manual_seed(19)
    model = Adder()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    mse = nn.MSELoss()
    curriculum = [(3, 150), (5, 100), (8, 100), (12, 100)]
    test_x, test_y = make_batch(500, 12)
    for stage, (length, steps) in enumerate(curriculum, 1):
        model.train()
        for _ in range(steps):
            x, y = make_batch(64, length)
            loss = mse(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        model.eval()
        with torch.no_grad():
            final = mse(model(test_x), test_y).item()
        print(f"stage {stage} (length {length}): loss {loss.item():.4f}, error at length 12 {final:.4f}, variance {test_y.var().item():.3f}")


if __name__ == "__main__":
    main()
