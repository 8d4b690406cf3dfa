import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

MICRO, ACCUM_STEPS, EPOCHS = 16, 4, 10
torch.manual_seed(4)
np.random.seed(4)

digits = load_digits()
xtr, xte, ytr, yte = train_test_split(digits.images / 16.0, digits.target, test_size=0.2,
                                      random_state=4, stratify=digits.target)
xtr, xte = (torch.tensor(a[:, None], dtype=torch.float32) for a in (xtr, xte))
ytr, yte = torch.tensor(ytr), torch.tensor(yte)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(1, 10, 3, padding=1)
        self.c2 = nn.Conv2d(10, 20, 3)
        self.fc = nn.Linear(20 * 36, 10)

    def forward(self, x):
        x = torch.relu(self.c2(torch.relu(self.c1(x))))
        return self.fc(x.view(x.size(0), -1))


net = Net()
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.8)
ce = nn.CrossEntropyLoss()
usable = len(xtr) // (MICRO * ACCUM_STEPS) * MICRO * ACCUM_STEPS

for ep in range(EPOCHS):
    net.train()
    order = np.random.permutation(len(xtr))[:usable]
    micro = order.reshape(-1, MICRO)
    total = 0.0
    opt.zero_grad()
    for j, rows in enumerate(micro, 1):
        loss = ce(net(xtr[rows]), ytr[rows])
        total += loss.item()
        loss.backward()  # <-- here
        if j % ACCUM_STEPS == 0:
            opt.step()
            opt.zero_grad()
    net.eval()
    with torch.no_grad():
        acc = (net(xte).argmax(1) == yte).float().mean().item()
    print(f"epoch {ep:02d} loss {total / len(micro):.4f} test {acc:.4f}")
