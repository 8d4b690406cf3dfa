"""5-fold cross-validation on wine; afterwards Monte Carlo dropout for uncertainty."""
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler


def new_model():
    return nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Dropout(0.25),
                         nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 3))


def fit(model, X, y, epochs=12, bs=16):
    opt = torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-4)
    for _ in range(epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(X)).split(bs):
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
    return total / len(X)


@torch.no_grad()
def predict(model, X):
    model.eval()
    return model(X).softmax(1)


@torch.no_grad()
def mc_predict(model, X, passes=20):
    """Dropout stays on deliberately; returns mean and deviation of the passes."""
    model.eval()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    draws = torch.stack([model(X).softmax(1) for _ in range(passes)])
    model.eval()
    return draws.mean(0), draws.std(0)


def main():
    np.random.seed(0)
    torch.manual_seed(0)
    X, y = load_wine(return_X_y=True)
    out_of_fold = torch.zeros(len(X), 3)
    scores = []
    for k, (tr, te) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(X, y)):
        sc = StandardScaler().fit(X[tr])
        xa, xb = (torch.tensor(sc.transform(X[i]), dtype=torch.float32) for i in (tr, te))
        ya, yb = torch.tensor(y[tr]), torch.tensor(y[te])
        model = new_model()
        loss = fit(model, xa, ya)
        probs = predict(model, xb)
        out_of_fold[te] = probs
        scores.append((probs.argmax(1) == yb).float().mean().item())
        print(f"fold {k}: train loss {loss:.4f}  accuracy {scores[-1]:.3f}")
    print("mean of folds %.3f, pooled %.3f" % (np.mean(scores), (out_of_fold.argmax(1).numpy() == y).mean()))
    mean, dev = mc_predict(model, xb)
    print("last fold, MC dropout: accuracy %.3f, mean deviation %.3f"
          % ((mean.argmax(1) == yb).float().mean(), dev.mean()))


if __name__ == "__main__":
    main()
