import torch
from torch import nn, optim
from sklearn.datasets import make_friedman1
from sklearn.metrics import r2_score


def mlp(sizes, activation=nn.Identity, output_activation=nn.Identity):
    layers = []
    for j in range(len(sizes) - 1):
        act = activation if j < len(sizes) - 2 else output_activation
        layers += [nn.Linear(sizes[j], sizes[j + 1]), act()]
    return nn.Sequential(*layers)


def load(n=1600, n_train=1200, seed=11):
    X, y = make_friedman1(n_samples=n, n_features=8, noise=0.5, random_state=seed)
    X, y = torch.tensor(X).float(), torch.tensor(y).float()
    X_mean, X_std = X[:n_train].mean(0), X[:n_train].std(0)
    y_mean, y_std = y[:n_train].mean(), y[:n_train].std()
    X, y = (X - X_mean) / X_std, (y - y_mean) / y_std
    return (X[:n_train], y[:n_train]), (X[n_train:], y[n_train:])


def minibatches(X, y, size):
    perm = torch.randperm(X.shape[0])
    for k in range(0, X.shape[0], size):
        sel = perm[k:k + size]
        yield X[sel], y[sel]


def fit(f, train, test, epochs=25, size=80):
    optimizer = optim.Adam(f.parameters(), lr=4e-3)
    mse = nn.MSELoss()
    for epoch in range(epochs):
        for xb, yb in minibatches(*train, size):
            optimizer.zero_grad()
            err = mse(f(xb).squeeze(-1), yb)
            err.backward()
            optimizer.step()
        if epoch % 6 == 0 or epoch == epochs - 1:
            with torch.no_grad():
                guess = f(test[0]).squeeze(-1)
            print("epoch %3d   last batch mse %.4f   test R2 %.3f" % (epoch, err.item(), r2_score(test[1], guess)))


if __name__ == "__main__":
    torch.manual_seed(11)
    train, test = load()
    f = mlp([8, 64, 64, 1], activation=nn.Tanh)
    fit(f, train, test)
