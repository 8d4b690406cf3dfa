import random
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset, random_split

SEED = 42
random.seed(SEED)
np.random.seed(SEED)
torch.manual_seed(SEED)

EPOCHS = 10
BATCH = 32


def get_loaders():
    d = load_digits()
    x = torch.tensor(d.data, dtype=torch.float32) / 16.0
    y = torch.tensor(d.target)
    full = TensorDataset(x, y)
    n_val = 360
    tr, va = random_split(full, [len(full) - n_val, n_val])
    return DataLoader(tr, batch_size=BATCH, shuffle=True, drop_last=True), DataLoader(va, batch_size=n_val)


def build(n_in, n_hidden, n_out):
    return nn.Sequential(
        nn.Linear(n_in, n_hidden, bias=False),
        nn.BatchNorm1d(n_hidden),
        nn.ReLU(inplace=True),
        nn.Linear(n_hidden, n_hidden, bias=False),
        nn.BatchNorm1d(n_hidden),
        nn.ReLU(inplace=True),
        nn.Linear(n_hidden, n_out),
    )


def validate(model, loader):
    model.eval()
    ok = n = 0
    with torch.inference_mode():
        for x, y in loader:
            ok += (model(x).argmax(dim=1) == y).sum().item()
            n += y.numel()
    model.train()
    return ok / n


train_dl, val_dl = get_loaders()
model = build(64, 96, 10)
loss_func = nn.CrossEntropyLoss()
opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
sched = OneCycleLR(opt, max_lr=5e-3, epochs=EPOCHS, steps_per_epoch=len(train_dl))

for epoch in range(EPOCHS):
    losses = []
    for xb, yb in train_dl:
        loss = loss_func(model(xb), yb)
        loss.backward()
        opt.step()
        sched.step()
        opt.zero_grad()
        losses.append(loss.item())
    print(epoch, "lr %.5f" % opt.param_groups[0]["lr"], "loss %.4f" % np.mean(losses), "val %.4f" % validate(model, val_dl))
