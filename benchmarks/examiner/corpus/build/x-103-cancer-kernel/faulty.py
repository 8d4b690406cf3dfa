# # Wisconsin breast cancer - simple NN baseline
import copy
import random

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

# ## Settings
SEED = 2024
BATCH = 16
EPOCHS = 25
PATIENCE = 6


def seed_everything(seed):
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


seed_everything(SEED)

# ## Data
raw = load_breast_cancer()
print("features:", len(raw.feature_names), "rows:", len(raw.target), "positives:", int(raw.target.sum()))
X_tr, X_te, y_tr, y_te = train_test_split(raw.data, raw.target, test_size=0.2, stratify=raw.target, random_state=SEED)
X_tr, X_va, y_tr, y_va = train_test_split(X_tr, y_tr, test_size=0.2, stratify=y_tr, random_state=SEED)

scaler = StandardScaler().fit(X_tr)


def to_ds(X, y):
    return TensorDataset(torch.tensor(scaler.transform(X), dtype=torch.float32),
                         torch.tensor(y, dtype=torch.float32).view(-1, 1))


train_dl = DataLoader(to_ds(X_tr, y_tr), batch_size=BATCH, shuffle=True)
valid_ds, test_ds = to_ds(X_va, y_va), to_ds(X_te, y_te)

# ## Model
model = nn.Sequential(
    nn.Linear(30, 32),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(32, 16),
    nn.ReLU(),
    nn.Linear(16, 1),
    nn.Sigmoid(),  # <-- here
)
print(model)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def predict(ds):
    model.eval()
    with torch.no_grad():
        return model(ds.tensors[0])


# ## Training
best_score, best_state, bad = -1.0, None, 0
for epoch in range(1, EPOCHS + 1):
    model.train()
    running, n = 0.0, 0
    for xb, yb in train_dl:
        optimizer.zero_grad()
        prob = model(xb)
        loss = criterion(prob, yb)  # <-- here
        loss.backward()
        optimizer.step()
        running += loss.item() * xb.size(0)
        n += xb.size(0)

    p = predict(valid_ds)
    auc = roc_auc_score(y_va, p.numpy().ravel())
    acc = ((p > 0.5).float() == valid_ds.tensors[1]).float().mean().item()
    if epoch % 3 == 0 or epoch == 1:
        print(f"epoch {epoch:3d} | train {running / n:.4f} | valid acc {acc:.3f} | auc {auc:.4f}")
    if acc > best_score:
        best_score, best_state, bad = acc, copy.deepcopy(model.state_dict()), 0
    else:
        bad += 1
        if bad >= PATIENCE and epoch > 10:
            print("early stop at", epoch)
            break

# ## Submission
model.load_state_dict(best_state)
p = predict(test_ds).numpy().ravel()
print("test auc :", round(roc_auc_score(y_te, p), 4))
print("test f1  :", round(f1_score(y_te, (p > 0.5).astype(int)), 4))
print("test acc :", round(float(((p > 0.5) == y_te).mean()), 4))
