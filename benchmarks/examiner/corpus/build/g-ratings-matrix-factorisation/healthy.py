import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.RandomState(3)
n_users, n_items, rank = 200, 150, 4
P, Q = rng.normal(size=(n_users, rank)) * 0.6, rng.normal(size=(n_items, rank)) * 0.6
bu, bi = rng.normal(size=n_users) * 0.3, rng.normal(size=n_items) * 0.4
cells = rng.permutation(n_users * n_items)[:12000]
u, i = cells // n_items, cells % n_items
r = 3.4 + bu[u] + bi[i] + (P[u] * Q[i]).sum(1) + rng.normal(size=len(cells)) * 0.25
r = np.clip(np.round(r * 2) / 2, 0.5, 5.0)

u, i, r = torch.as_tensor(u), torch.as_tensor(i), torch.as_tensor(r, dtype=torch.float32)
train = TensorDataset(u[:10000], i[:10000], r[:10000])
test_u, test_i, test_r = u[10000:], i[10000:], r[10000:]


class MF(nn.Module):
    def __init__(self, n_users, n_items, k, mean):
        super().__init__()
        self.user = nn.Embedding(n_users, k)
        self.item = nn.Embedding(n_items, k)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.1)
        for e in (self.user_bias, self.item_bias):
            nn.init.zeros_(e.weight)
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, users, items):
        dot = (self.user(users) * self.item(items)).sum(1)
        return self.mean + dot + self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)


torch.manual_seed(3)
mf = MF(n_users, n_items, 8, train.tensors[2].mean().item())
loader = DataLoader(train, batch_size=250, shuffle=True)
opt = torch.optim.Adam(mf.parameters(), lr=0.02, weight_decay=1e-5)
loss_fn = nn.MSELoss()


def rmse():
    mf.eval()
    with torch.no_grad():
        return loss_fn(mf(test_u, test_i), test_r).sqrt().item()


print("rmse of the global mean", rmse())
for epoch in range(8):
    mf.train()
    for ub, ib, rb in loader:
        loss = loss_fn(mf(ub, ib), rb)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("epoch", epoch, "test rmse", round(rmse(), 4))
