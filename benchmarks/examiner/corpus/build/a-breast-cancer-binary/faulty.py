import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

np.random.seed(42)
torch.manual_seed(42)

data = load_breast_cancer()
X_tr, X_te, y_tr, y_te = train_test_split(data.data, data.target, test_size=0.2, random_state=42)
scaler = StandardScaler().fit(X_tr)
X_tr = torch.from_numpy(scaler.transform(X_tr)).float()
X_te = torch.from_numpy(scaler.transform(X_te)).float()
y_tr = torch.from_numpy(y_tr).float().unsqueeze(1)
y_te = torch.from_numpy(y_te).float().unsqueeze(1)


class TumorNet(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.l1 = nn.Linear(n_in, 24)
        self.l2 = nn.Linear(24, 12)
        self.l3 = nn.Linear(12, 1)
        self.drop = nn.Dropout(0.2)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.drop(self.act(self.l1(x)))
        x = self.act(self.l2(x))
        return torch.sigmoid(self.l3(x))  # <-- here


net = TumorNet(X_tr.shape[1])
loss_fn = nn.BCEWithLogitsLoss()  # <-- here
opt = torch.optim.Adam(net.parameters(), lr=1e-3)

batch = 32
for epoch in range(25):
    net.train()
    perm = torch.randperm(len(X_tr))
    losses = []
    for start in range(0, len(perm), batch):
        take = perm[start:start + batch]
        p = net(X_tr[take])
        loss = loss_fn(p, y_tr[take])  # <-- here
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    if epoch % 5 == 4:
        net.eval()
        with torch.no_grad():
            p = net(X_te)
        acc = ((p > 0.5).float() == y_te).float().mean()
        print("epoch", epoch + 1, "train loss", round(float(np.mean(losses)), 4), "test acc", round(acc.item(), 4))
