# %% data
import math
import torch
import torch.nn as nn

g = torch.Generator().manual_seed(42)
t = torch.arange(1600, dtype=torch.float32)
level = (torch.sin(2 * math.pi * t / 48) + 0.5 * torch.sin(2 * math.pi * t / 17)
         + 0.1 * torch.randn(len(t), generator=g))

WINDOW = 24
X = torch.stack([level[i:i + WINDOW] for i in range(len(level) - WINDOW)]).unsqueeze(-1)
Y = level[WINDOW:].unsqueeze(-1)
n_train = 1200
X_train, Y_train = X[:n_train], Y[:n_train]
X_test, Y_test = X[n_train + WINDOW:], Y[n_train + WINDOW:]
print("train", tuple(X_train.shape), "test", tuple(X_test.shape))

# %% model


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.lstm = nn.LSTM(input_size=1, hidden_size=hidden, batch_first=True)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.linear(out[:, -1])


torch.manual_seed(0)
model = Forecaster()
mse = nn.MSELoss()
adam = torch.optim.Adam(model.parameters(), lr=0.01)

# %% training
for epoch in range(6):
    model.train()
    perm = torch.randperm(n_train)
    epoch_loss = 0.0
    for k in range(0, n_train, 50):
        rows = perm[k:k + 50]
        adam.zero_grad()
        loss = mse(model(X_train[rows]), Y_train[rows])
        loss.backward()  # <-- here
        epoch_loss += loss.item() * len(rows)
    print("epoch", epoch, "mse", round(epoch_loss / n_train, 4))

# %% test
model.eval()
with torch.no_grad():
    forecast = model(X_test)
    test_mse = mse(forecast, Y_test).item()
print("test mse", round(test_mse, 4), "variance of the series", round(Y_test.var().item(), 4))
