import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(7)


class Net(nn.Module):
    def __init__(self, n_out):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(),
        )
        self.fc = nn.Linear(16 * 4 * 4, n_out)

    def forward(self, x):
        return self.fc(self.features(x))


X, y = load_digits(return_X_y=True)
X = torch.tensor(X, dtype=torch.float32).view(-1, 1, 8, 8) / 16 - 0.3
y = torch.tensor(y)


def subset(classes):
    keep = torch.isin(y, torch.tensor(classes))
    xs, ys = X[keep], y[keep] - min(classes)
    return train_test_split(xs, ys, test_size=0.3, random_state=1)


def fit(net, optimizer, x, t, epochs):
    criterion = nn.CrossEntropyLoss()
    net.train()
    for epoch in range(epochs):
        total = 0.0
        for idx in torch.randperm(len(x)).split(25):
            optimizer.zero_grad()
            loss = criterion(net(x[idx]), t[idx])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(idx)
        print(f"    epoch {epoch}  loss {total / len(x):.4f}")


def score(net, x, t):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == t).float().mean().item()


print("six classes, 0-5")
x_tr, x_te, t_tr, t_te = subset([0, 1, 2, 3, 4, 5])
model = Net(6)
fit(model, torch.optim.Adam(model.parameters(), lr=2e-3), x_tr, t_tr, epochs=4)
print(f"  test {score(model, x_te, t_te):.3f}")

print("four new classes, 6-9")
x_tr, x_te, t_tr, t_te = subset([6, 7, 8, 9])
model.fc = nn.Linear(model.fc.in_features, 4)
opt = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
fit(model, opt, x_tr, t_tr, epochs=5)
print(f"  test {score(model, x_te, t_te):.3f}")
