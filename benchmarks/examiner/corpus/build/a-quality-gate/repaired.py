import torch
import torch.nn as nn
from sklearn.datasets import make_classification

torch.manual_seed(0)
features, passed = make_classification(n_samples=2000, n_features=20, n_informative=8, n_redundant=4,
                                        class_sep=1.2, weights=[0.45, 0.55], random_state=8)
features = torch.tensor(features, dtype=torch.float32)
passed = torch.tensor(passed, dtype=torch.float32).reshape(-1, 1)

n_train = 1500
mu, sd = features[:n_train].mean(0), features[:n_train].std(0)
features = (features - mu) / sd

net = nn.Sequential(
    nn.Linear(20, 32),
    nn.ReLU(),
    nn.Linear(32, 16),
    nn.ReLU(),
    nn.Linear(16, 1),
    nn.Sigmoid(),
)
loss_fn = nn.BCELoss()
opt = torch.optim.Adam(net.parameters(), lr=2e-3)

for epoch in range(10):
    net.train()
    order = torch.randperm(n_train)
    epoch_loss = 0.0
    for chunk in order.split(64):
        p = net(features[chunk])
        loss = loss_fn(p, passed[chunk])
        opt.zero_grad()
        loss.backward()
        opt.step()
        epoch_loss += loss.item() * len(chunk)

    net.eval()
    with torch.no_grad():
        p = net(features[n_train:])
        acc = ((p > 0.5) == (passed[n_train:] > 0.5)).float().mean()
    print(f"epoch {epoch}: loss={epoch_loss / n_train:.4f} val_acc={acc:.4f}")
