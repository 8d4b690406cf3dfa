from collections import defaultdict

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


class Callback:
    def __init__(self, engine=None):
        self.engine = engine

    def on_epoch_start(self): ...
    def on_backward_end(self): ...
    def on_step_end(self): ...
    def on_epoch_end(self): ...


class Recorder(Callback):
    def on_epoch_start(self):
        self.rows = []

    def on_step_end(self):
        self.rows.append((self.engine.loss.item(), len(self.engine.batch[0])))

    def on_epoch_end(self):
        values, weights = zip(*self.rows)
        self.engine.log["train"].append(float(np.average(values, weights=weights)))


class GradientClipping(Callback):
    def __init__(self, max_norm):
        super().__init__()
        self.max_norm = max_norm

    def on_backward_end(self):
        nn.utils.clip_grad_norm_(self.engine.model.parameters(), self.max_norm)


class Validation(Callback):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    @torch.no_grad()
    def on_epoch_end(self):
        model = self.engine.model
        model.eval()
        residual = model(self.x).squeeze(1) - self.y
        self.engine.log["r2"].append(1 - (residual.square().mean() / self.y.var(unbiased=False)).item())


class Engine:
    def __init__(self, model, optimizer, loss_fn, callbacks):
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.callbacks, self.log = callbacks, defaultdict(list)
        for cb in callbacks:
            cb.engine = self

    def emit(self, event):
        for cb in self.callbacks:
            getattr(cb, "on_" + event)()

    def run(self, x, y, epochs, batch_size):
        for _ in range(epochs):
            self.model.train()
            self.emit("epoch_start")
            for idx in np.array_split(np.random.permutation(len(x)), len(x) // batch_size):
                self.batch = x[idx], y[idx]
                self.optimizer.zero_grad()
                self.loss = self.loss_fn(self.model(self.batch[0]).squeeze(1), self.batch[1])
                self.loss.backward()
                self.emit("backward_end")
                self.optimizer.step()
                self.emit("step_end")
            self.emit("epoch_end")
        return self.log


np.random.seed(4)
torch.manual_seed(4)
X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=4)
mu, sd, ymu, ysd = X_train.mean(0), X_train.std(0), y_train.mean(), y_train.std()
f32 = lambda a: torch.as_tensor(a, dtype=torch.float32)

net = nn.Sequential(nn.Linear(10, 24), nn.SiLU(), nn.Linear(24, 24), nn.SiLU(), nn.Linear(24, 1))
engine = Engine(
    net,
    torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9),
    nn.MSELoss(),
    [GradientClipping(1.0), Recorder(), Validation(f32((X_test - mu) / sd), f32((y_test - ymu) / ysd))],
)
log = engine.run(f32((X_train - mu) / sd), f32((y_train - ymu) / ysd), epochs=12, batch_size=22)
for epoch, (loss, r2) in enumerate(zip(log["train"], log["r2"])):
    print(f"{epoch:2d}  mse {loss:.3f}  test R2 {r2:.3f}")
