import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED = 2024
torch.manual_seed(SEED)


def init_weights(m):
    if isinstance(m, nn.Linear):
        nn.init.constant_(m.weight, 0.05)  # <-- here
        nn.init.constant_(m.bias, 0.0)


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 50), nn.Tanh(), nn.Linear(50, 25), nn.Tanh())
        self.decoder = nn.Linear(25, 10)
        self.apply(init_weights)

    def forward(self, x):
        return self.decoder(self.encoder(x))


bunch = load_digits()
X = torch.tensor((bunch.data - 8) / 8, dtype=torch.float32)
y = torch.tensor(bunch.target, dtype=torch.long)
train_idx, test_idx = train_test_split(range(len(X)), test_size=0.2, stratify=bunch.target, random_state=SEED)
train_idx, test_idx = torch.tensor(train_idx), torch.tensor(test_idx)

net = MLP()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)
loss_function = nn.CrossEntropyLoss()
losses, accs = [], []
for epoch in range(8):
    shuffled = train_idx[torch.randperm(len(train_idx))]
    for batch in shuffled.chunk(36):
        opt.zero_grad()
        out = net(X[batch])
        L = loss_function(out, y[batch])
        L.backward()
        opt.step()
        losses.append(L.item())
    with torch.no_grad():
        accs.append((net(X[test_idx]).argmax(1) == y[test_idx]).float().mean().item())
    print("epoch", epoch, "mean loss", sum(losses[-36:]) / 36, "accuracy", accs[-1])
