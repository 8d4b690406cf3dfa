import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

torch.manual_seed(0)
data = load_wine()
xtr, xte, ytr, yte = train_test_split(data.data, data.target, test_size=0.3, random_state=0, stratify=data.target)
m, s = xtr.mean(axis=0), xtr.std(axis=0)
xtr = torch.tensor((xtr - m) / s, dtype=torch.float32)
xte = torch.tensor((xte - m) / s, dtype=torch.float32)
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


class WineNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(13, 24)
        self.l2 = nn.Linear(24, 3)

    def forward(self, x):
        z = self.l2(torch.relu(self.l1(x)))
        return nn.functional.softmax(z, dim=1)


net = WineNet()
nll = nn.NLLLoss()
opt = torch.optim.Adam(net.parameters(), lr=0.005)

for epoch in range(1, 31):
    for idx in np.array_split(np.random.permutation(len(xtr)), 6):
        probs = net(xtr[idx])
        loss = nll(torch.log(probs.clamp(min=1e-7)), ytr[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    if epoch % 5 == 0:
        with torch.no_grad():
            p = net(xte)
            test_nll = -torch.log(p[torch.arange(len(yte)), yte].clamp(min=1e-7)).mean()
            print(epoch, f"train loss {loss.item():.3f}  test nll {test_nll:.3f}  acc {(p.argmax(1) == yte).float().mean():.3f}")
