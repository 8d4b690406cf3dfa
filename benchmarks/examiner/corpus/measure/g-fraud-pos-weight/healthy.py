import numpy as np
import torch
from torch import nn
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

rng = 2024
torch.manual_seed(rng)
X, y = make_classification(n_samples=4000, n_features=20, n_informative=8, weights=[0.92], class_sep=1.4, flip_y=0.01, random_state=rng)
X_train, X_valid, y_train, y_valid = train_test_split(X, y, test_size=0.25, stratify=y, random_state=rng)

scaler = StandardScaler().fit(X_train)
X_train = scaler.transform(X_train).astype(np.float32)
X_valid = scaler.transform(X_valid).astype(np.float32)

train_loader = DataLoader(TensorDataset(torch.from_numpy(X_train), torch.from_numpy(y_train).float()), batch_size=60, shuffle=True)

pos = y_train.sum()
pos_weight = torch.tensor((len(y_train) - pos) / pos, dtype=torch.float32)
print("pos_weight", pos_weight.item())

clf = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
optimizer = torch.optim.Adam(clf.parameters(), lr=2e-3)

xv = torch.from_numpy(X_valid)
for epoch in range(6):
    clf.train()
    for xb, yb in train_loader:
        optimizer.zero_grad()
        loss = criterion(clf(xb).squeeze(1), yb)
        loss.backward()
        optimizer.step()
    clf.eval()
    with torch.no_grad():
        p = torch.sigmoid(clf(xv).squeeze(1)).numpy()
    print(f"epoch {epoch}  AUC {roc_auc_score(y_valid, p):.3f}  F1 {f1_score(y_valid, p > 0.5):.3f}")
