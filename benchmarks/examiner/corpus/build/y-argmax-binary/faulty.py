import numpy as np
import torch
from sklearn.datasets import make_moons
from sklearn.model_selection import train_test_split
from torch import nn


class BinaryClassifier(nn.Module):
    """scikit-learn style wrapper: fit(), predict(), score()."""

    def __init__(self, n_features=2, hidden=(32, 32), lr=0.01, epochs=25, batch_size=50):
        super().__init__()
        dims = [n_features, *hidden]
        blocks = []
        for d_in, d_out in zip(dims, dims[1:]):
            blocks.extend([nn.Linear(d_in, d_out), nn.ReLU()])
        self.net = nn.Sequential(*blocks, nn.Linear(dims[-1], 1))
        self.lr, self.epochs, self.batch_size = lr, epochs, batch_size

    def forward(self, x):
        return self.net(x)

    def fit(self, x, y, x_val, y_val):
        x = torch.as_tensor(x, dtype=torch.float32)
        y = torch.as_tensor(y, dtype=torch.float32).view(-1, 1)
        criterion = nn.BCEWithLogitsLoss()
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        for epoch in range(1, self.epochs + 1):
            self.train()
            shuffled = torch.randperm(len(x))
            epoch_loss = 0.0
            for lo in range(0, len(x), self.batch_size):
                pick = shuffled[lo:lo + self.batch_size]
                optimizer.zero_grad()
                loss = criterion(self(x[pick]), y[pick])
                loss.backward()
                optimizer.step()
                epoch_loss += loss.item() * len(pick)
            if epoch % 5 == 0:
                print(f"epoch {epoch:3d}: loss {epoch_loss / len(x):.4f}  val accuracy {self.score(x_val, y_val):.3f}")
        return self

    @torch.no_grad()
    def predict(self, x):
        self.eval()
        out = self(torch.as_tensor(x, dtype=torch.float32))
        return torch.argmax(out, dim=1).numpy()  # <-- here

    def score(self, x, y):
        return float(np.mean(self.predict(x) == y))


def main():
    torch.manual_seed(0)
    x, y = make_moons(n_samples=1000, noise=0.2, random_state=0)
    x_tr, x_te, y_tr, y_te = train_test_split(x, y, test_size=0.3, random_state=0)
    centre, scale = x_tr.mean(0), x_tr.std(0)
    x_tr, x_te = (x_tr - centre) / scale, (x_te - centre) / scale
    clf = BinaryClassifier().fit(x_tr, y_tr, x_te, y_te)
    predicted = clf.predict(x_te)
    print("share predicted positive:", round(float(predicted.mean()), 3), "of", round(float(y_te.mean()), 3))
    print("final accuracy:", round(clf.score(x_te, y_te), 4))


main()
