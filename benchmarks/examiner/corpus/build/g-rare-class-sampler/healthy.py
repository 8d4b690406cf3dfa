import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import make_blobs
from sklearn.metrics import balanced_accuracy_score, recall_score
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

rs = np.random.RandomState(7)
torch.manual_seed(7)
X, y = make_blobs(n_samples=[2600, 300, 100], centers=None, n_features=6, cluster_std=3.0, random_state=7)
shuffle = rs.permutation(len(X))
X, y = X[shuffle].astype(np.float32), y[shuffle]
X_tr, y_tr, X_va, y_va = X[:2200], y[:2200], X[2200:], y[2200:]
mean, std = X_tr.mean(0), X_tr.std(0)
X_tr, X_va = (X_tr - mean) / std, (X_va - mean) / std

class_count = np.bincount(y_tr)
print("class counts", class_count)
weights = 1.0 / class_count[y_tr]
sampler = WeightedRandomSampler(torch.as_tensor(weights, dtype=torch.double), num_samples=len(weights), replacement=True)
train_loader = DataLoader(TensorDataset(torch.tensor(X_tr), torch.tensor(y_tr)), batch_size=40, sampler=sampler)
valid_loader = DataLoader(TensorDataset(torch.tensor(X_va), torch.tensor(y_va)), batch_size=200)

model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)


def evaluate():
    model.eval()
    preds, trues = [], []
    with torch.no_grad():
        for xb, yb in valid_loader:
            preds.append(model(xb).argmax(1))
            trues.append(yb)
    return torch.cat(preds).numpy(), torch.cat(trues).numpy()


for epoch in range(5):
    model.train()
    for xb, yb in train_loader:
        loss = criterion(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    p, t = evaluate()
    print(f"epoch {epoch}: balanced acc {balanced_accuracy_score(t, p):.3f} recall {np.round(recall_score(t, p, average=None), 2)}")
