import os
import tempfile
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


class EarlyStopping:
    def __init__(self, path, patience=5, min_delta=1e-4):
        self.path, self.patience, self.min_delta = path, patience, min_delta
        self.best, self.bad = float("inf"), 0

    def step(self, value, model):
        if value < self.best - self.min_delta:
            self.best, self.bad = value, 0
            torch.save(model.state_dict(), self.path)
        else:
            self.bad += 1
        return self.bad >= self.patience

    def restore(self, model):
        model.load_state_dict(torch.load(self.path, weights_only=True))


torch.manual_seed(9)
X, y = load_diabetes(return_X_y=True, scaled=False)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=80, random_state=9)
X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=72, random_state=9)
xm, xs, ym, ys = X_train.mean(0), X_train.std(0), y_train.mean(), y_train.std()
prep = lambda a, b: (torch.tensor((a - xm) / xs, dtype=torch.float32), torch.tensor((b - ym) / ys, dtype=torch.float32))
(X_train, y_train), (X_val, y_val), (X_test, y_test) = prep(X_train, y_train), prep(X_val, y_val), prep(X_test, y_test)

model = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 1), nn.Flatten(0))
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)


@torch.no_grad()
def mse(x, t):
    model.eval()
    return criterion(model(x), t).item()


with tempfile.TemporaryDirectory() as tmp:
    stopper = EarlyStopping(os.path.join(tmp, "best.pt"), patience=6)
    for epoch in range(60):
        model.train()
        for idx in torch.randperm(len(X_train)).split(29):
            optimizer.zero_grad()
            loss = criterion(model(X_train[idx]), y_train[idx])
            loss.backward()
            optimizer.step()
        val = mse(X_val, y_val)
        if epoch % 4 == 0:
            print(f"epoch {epoch:3d} val mse {val:.4f}")
        if stopper.step(val, model):
            print(f"stopping at epoch {epoch}, best val {stopper.best:.4f}")
            break
    else:
        print("ran to the end")
    stopper.restore(model)
print(f"test mse with best weights {mse(X_test, y_test):.4f} (mean predictor {y_test.var(unbiased=False).item():.4f})")
