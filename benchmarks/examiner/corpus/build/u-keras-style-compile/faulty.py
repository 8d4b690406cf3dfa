import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

LOSSES = {
    "binary_crossentropy": F.binary_cross_entropy_with_logits,
    "mse": F.mse_loss,
}
OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}


class KerasLike(nn.Module):
    """compile / fit / evaluate on top of a torch module."""

    def compile_(self, optimizer="adam", loss="mse", metrics=None, **opt_args):
        self._opt = OPTIMIZERS[optimizer](self.parameters(), **opt_args)
        self._loss = LOSSES[loss]
        self._metrics = metrics or {}
        return self

    def _compute_loss(self, y_true, y_pred):
        return self._loss(y_true, y_pred)  # <-- here

    def _train_on_batch(self, x, y):
        self._opt.zero_grad()
        y_pred = self(x)
        loss = self._compute_loss(y, y_pred)
        loss.backward()
        self._opt.step()
        return float(loss.detach()) * len(x)

    def fit(self, x, y, epochs, batch_size, validation_data=None):
        history = {"loss": []}
        for epoch in range(epochs):
            self.train()
            perm = np.random.permutation(len(x))
            total = sum(self._train_on_batch(x[perm[i:i + batch_size]], y[perm[i:i + batch_size]])
                        for i in range(0, len(x), batch_size))
            history["loss"].append(total / len(x))
            line = f"Epoch {epoch + 1}/{epochs} - loss: {history['loss'][-1]:.4f}"
            if validation_data is not None:
                for name, value in self.evaluate(*validation_data).items():
                    history.setdefault(name, []).append(value)
                    line += f" - val_{name}: {value:.4f}"
            print(line)
        return history

    @torch.no_grad()
    def evaluate(self, x, y):
        self.eval()
        y_pred = self(x)
        out = {"loss": self._compute_loss(y, y_pred).item()}
        out.update({k: fn(y, y_pred) for k, fn in self._metrics.items()})
        return out


class TagNet(KerasLike):
    def __init__(self, n_in, n_tags):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, 64), nn.ELU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ELU())
        self.tags = nn.Linear(32, n_tags)

    def forward(self, x):
        return self.tags(self.body(x))


def micro_f1(y_true, y_pred):
    return f1_score(y_true.numpy(), (y_pred > 0).numpy(), average="micro")


if __name__ == "__main__":
    np.random.seed(3)
    torch.manual_seed(3)
    X, Y = make_multilabel_classification(n_samples=1600, n_features=24, n_classes=6, n_labels=3, random_state=3)
    X_tr, X_va, Y_tr, Y_va = train_test_split(X, Y, test_size=0.25, random_state=3)
    sc = StandardScaler().fit(X_tr)
    as_t = lambda a: torch.as_tensor(a, dtype=torch.float32)
    net = TagNet(24, 6).compile_(optimizer="adam", loss="binary_crossentropy", metrics={"f1": micro_f1}, lr=2e-3)
    net.fit(as_t(sc.transform(X_tr)), as_t(Y_tr), epochs=10, batch_size=40,
            validation_data=(as_t(sc.transform(X_va)), as_t(Y_va)))
