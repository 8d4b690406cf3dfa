# %% imports
import torch
from torch import nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

torch.manual_seed(1)

# %% data
data = load_breast_cancer()
Xtr, Xte, ytr, yte = train_test_split(data.data, data.target, test_size=0.2, random_state=4)
mu, sd = Xtr.mean(0), Xtr.std(0)
Xtr = torch.tensor((Xtr - mu) / sd, dtype=torch.float32)
Xte = torch.tensor((Xte - mu) / sd, dtype=torch.float32)
ytr = torch.tensor(ytr, dtype=torch.float32).unsqueeze(1)
yte = torch.tensor(yte, dtype=torch.float32).unsqueeze(1)

# %% model
clf = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 1))
bce = nn.BCEWithLogitsLoss()
optim = torch.optim.SGD(clf.parameters(), lr=0.1, momentum=0.9)

# %% training
bs = 35
for epoch in range(10):
    perm = torch.randperm(len(Xtr))
    epoch_loss = 0.0
    for i in range(0, len(Xtr), bs):
        rows = perm[i:i + bs]
        optim.zero_grad()
        loss = bce(clf(Xtr[rows]), ytr[rows])
        loss.backward()
        optim.step()
        epoch_loss += loss.item() * len(rows)
    with torch.no_grad():
        logits = clf(Xte)
        pred = (logits > 0).float()
        acc = (pred == yte).float().mean().item()
    print("epoch", epoch, "train loss", epoch_loss / len(Xtr), "test accuracy", acc)
