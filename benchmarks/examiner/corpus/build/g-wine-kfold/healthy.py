import numpy as np
import torch
from torch import nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

EPOCHS, BATCH, FOLDS = 12, 16, 5


def make_model():
    return nn.Sequential(nn.Linear(13, 20), nn.ReLU(), nn.Linear(20, 3))


def train_fold(X_train, y_train, X_val, y_val):
    model = make_model()
    opt = torch.optim.Adam(model.parameters(), lr=0.01)
    ce = nn.CrossEntropyLoss()
    for _ in range(EPOCHS):
        model.train()
        for idx in torch.randperm(len(X_train)).split(BATCH):
            opt.zero_grad()
            ce(model(X_train[idx]), y_train[idx]).backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        logits = model(X_val)
    return ce(logits, y_val).item(), (logits.argmax(1) == y_val).sum().item()


torch.manual_seed(0)
X, y = load_wine(return_X_y=True)
correct = 0
for fold, (tr, va) in enumerate(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y)):
    scaler = StandardScaler().fit(X[tr])
    t = lambda a: torch.tensor(scaler.transform(a), dtype=torch.float32)
    loss, hits = train_fold(t(X[tr]), torch.tensor(y[tr]), t(X[va]), torch.tensor(y[va]))
    correct += hits
    print(f"fold {fold}: val loss {loss:.4f}  {hits}/{len(va)} right")
print(f"cross-validated accuracy {correct / len(X):.4f}")
