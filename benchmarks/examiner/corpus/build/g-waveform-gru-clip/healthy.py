import math
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(7)


def make_waves(n, length=36):
    """three kinds of waveform with noise: sine, square, saw"""
    kind = torch.randint(0, 3, (n,))
    t = torch.linspace(0, 1, length)
    freq = 1.5 + torch.rand(n, 1) * 1.5
    phase = torch.rand(n, 1)
    u = freq * t + phase
    sine = torch.sin(2 * math.pi * u)
    square = torch.sign(sine)
    saw = 2 * (u - torch.floor(u)) - 1
    waves = torch.stack([sine, square, saw], 1)[torch.arange(n), kind]
    return (waves + 0.15 * torch.randn(n, length)).view(n, 12, 3), kind


class WaveGRU(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.gru = nn.GRU(3, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 3)

    def forward(self, seq):
        states, _ = self.gru(seq)
        return self.out(states.mean(dim=1))


train_set = TensorDataset(*make_waves(1500))
test_x, test_y = make_waves(400)
loader = DataLoader(train_set, batch_size=30, shuffle=True)

rnn = WaveGRU()
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(rnn.parameters(), lr=0.15, momentum=0.9)

epoch = 0
while epoch < 6:
    rnn.train()
    epoch_loss = 0.0
    for seqs, kinds in loader:
        optimizer.zero_grad()
        loss = criterion(rnn(seqs), kinds)
        loss.backward()
        nn.utils.clip_grad_norm_(rnn.parameters(), max_norm=1.0)
        optimizer.step()
        epoch_loss += loss.item() * len(kinds)
    rnn.eval()
    with torch.no_grad():
        correct = (rnn(test_x).argmax(1) == test_y).sum().item()
    epoch += 1
    print("epoch", epoch, "loss", round(epoch_loss / len(train_set), 4), "test", correct / len(test_y))
