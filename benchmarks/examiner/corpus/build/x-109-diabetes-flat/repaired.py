import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(5)

# ---------------------------------------------------------------- data
features, target = load_diabetes(return_X_y=True)
f_train, f_test, t_train, t_test = train_test_split(features, target, test_size=90, random_state=5)
sx = StandardScaler().fit(f_train)
t_mean, t_std = t_train.mean(), t_train.std()


def tensor(a):
    return torch.tensor(a, dtype=torch.float32)


train_data = TensorDataset(tensor(sx.transform(f_train)), tensor((t_train - t_mean) / t_std))
loader = DataLoader(train_data, batch_size=22, shuffle=True)
x_test = tensor(sx.transform(f_test))

# ---------------------------------------------------------------- net
net = nn.Sequential(
    nn.Linear(10, 20),
    nn.Tanh(),
    nn.Linear(20, 10),
    nn.Tanh(),
    nn.Linear(10, 1),
)
mse = nn.MSELoss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3, weight_decay=1e-3)

# ---------------------------------------------------------------- fit
n_epochs = 40
curve = np.zeros(n_epochs)
for e in range(n_epochs):
    net.train()
    for x, y in loader:
        y_hat = net(x)
        loss = mse(y_hat, y.unsqueeze(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve[e] += loss.item() * len(x) / len(train_data)
    if e % 5 == 4:
        print(f"epoch {e + 1:3d}  mse (scaled) {curve[e]:.4f}")

# ---------------------------------------------------------------- report
net.eval()
with torch.no_grad():
    pred = net(x_test).numpy()[:, 0] * t_std + t_mean
lin = LinearRegression().fit(sx.transform(f_train), t_train).predict(sx.transform(f_test))
print(f"{'':10s}{'R2':>8s}{'MAE':>8s}")
for name, p in (("network", pred), ("linear", lin), ("mean", np.full_like(t_test, t_mean))):
    print(f"{name:10s}{r2_score(t_test, p):8.3f}{mean_absolute_error(t_test, p):8.2f}")
