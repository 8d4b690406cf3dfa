import math
import torch
from torch import nn


class Callback:
    def on_backward_end(self, trainer): ...
    def on_step_end(self, trainer): ...
    def on_epoch_end(self, trainer, epoch): ...


class GradientClipping(Callback):
    def __init__(self, max_norm):
        self.max_norm = max_norm

    def on_backward_end(self, trainer):
        nn.utils.clip_grad_norm_(trainer.net.parameters(), self.max_norm)


class Report(Callback):
    def on_epoch_end(self, trainer, epoch):
        if epoch % 2 == 1:
            print(f"epoch {epoch + 1}: train mse {trainer.last:.4f}, valid mse {trainer.validate():.4f}")


class Forecaster(nn.Module):
    def __init__(self, hidden=24):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(out[:, -1]).squeeze(-1)


class Trainer:
    def __init__(self, net, train, valid, lr, callbacks=()):
        self.net, self.train_data, self.valid_data = net, train, valid
        self.loss = nn.MSELoss()
        self.opt = torch.optim.Adam(net.parameters(), lr=lr)
        self.callbacks = list(callbacks)
        self.last = float("nan")

    def fire(self, event, *args):
        for cb in self.callbacks:
            getattr(cb, event)(self, *args)

    def step(self, x, y):
        self.opt.zero_grad()
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.fire("on_backward_end")
        self.opt.step()
        self.fire("on_step_end")
        return loss.item()

    def fit(self, epochs, bs=32):
        X, Y = self.train_data
        for epoch in range(epochs):
            self.net.train()
            total = 0.0
            for idx in torch.randperm(len(X)).split(bs):
                total += self.step(X[idx], Y[idx]) * len(idx)
            self.last = total / len(X)
            self.fire("on_epoch_end", epoch)

    def validate(self):
        X, Y = self.valid_data
        self.net.eval()
        with torch.no_grad():
            return self.loss(self.net(X), Y).item()


def windows(series, size):
    w = series.unfold(0, size + 1, 1)
    return w[:, :-1].unsqueeze(-1).contiguous(), w[:, -1].contiguous()


if __name__ == "__main__":
    torch.manual_seed(21)
    t = torch.arange(1100, dtype=torch.float32)
    series = torch.sin(2 * math.pi * t / 25) + 0.5 * torch.sin(2 * math.pi * t / 7) + 0.1 * torch.randn(1100)
    series = (series - series[:880].mean()) / series[:880].std()
    Trainer(Forecaster(), windows(series[:880], 24), windows(series[880:], 24), lr=5e-3,
            callbacks=[GradientClipping(1.0), Report()]).fit(10)
