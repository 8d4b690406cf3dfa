import torch
import torch.nn as nn

torch.manual_seed(4)
dt, n_times = 0.05, 60
true_A = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])


def true_field(y):
    return (y ** 3) @ true_A.T


@torch.no_grad()
def simulate(y0, sub=10):
    out = [y0]
    y = y0
    for _ in range(n_times):
        for _ in range(sub):
            k1 = true_field(y)
            y = y + dt / sub * true_field(y + 0.5 * dt / sub * k1)
        out.append(y)
    return torch.stack(out)


class ODEFunc(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))
        for m in self.net.modules():
            if isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, mean=0, std=0.3)
                nn.init.constant_(m.bias, val=0)

    def forward(self, t, y):
        return self.net(y ** 3)


def odeint_euler(func, y0, steps):
    ys, y = [y0], y0
    for k in range(steps):
        y = y + dt * func(k * dt, y)
        ys.append(y)
    return torch.stack(ys)


starts = torch.empty(12, 2).uniform_(-1.6, 1.6)
trajectories = simulate(starts)                       # (time, n, 2)
train_tr, test_tr = trajectories[:, :9], trajectories[:, 9:]


def get_batch(batch_time=8, batch_size=24):
    s = torch.randint(0, n_times - batch_time, (batch_size,))
    w = torch.randint(0, train_tr.shape[1], (batch_size,))
    true = torch.stack([train_tr[s + i, w] for i in range(batch_time + 1)])
    return true[0], true


func = ODEFunc()
optimizer = torch.optim.RMSprop(func.parameters(), lr=3e-3)
for itr in range(1, 301):
    y0, true = get_batch()
    pred = odeint_euler(func, y0, true.shape[0] - 1)
    loss = (pred - true).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if itr % 60 == 0:
        with torch.no_grad():
            test = (odeint_euler(func, test_tr[0], 20) - test_tr[:21]).abs().mean()
            still = (test_tr[:1] - test_tr[:21]).abs().mean()
        print("Iter {:04d} | train {:.5f} | test {:.5f} | standing still {:.5f}".format(itr, loss.item(), test.item(), still.item()))
