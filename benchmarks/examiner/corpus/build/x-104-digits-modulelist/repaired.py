import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class FeedForward(nn.Module):
    """A multi layer perceptron.

    sizes: (n_inputs, hidden, ..., n_outputs)
    """

    def __init__(self, sizes):
        super(FeedForward, self).__init__()
        self.layers = nn.ModuleList()
        for n_in, n_out in zip(sizes[:-1], sizes[1:]):
            layer = nn.Linear(n_in, n_out)
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
            self.layers.append(layer)
        nn.init.xavier_uniform_(self.layers[-1].weight, gain=0.5)

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)

    def __str__(self):
        return " -> ".join(str(l.in_features) for l in self.layers) + f" -> {self.layers[-1].out_features}"


class EarlyStopping:
    def __init__(self, patience=5, min_delta=1e-3):
        self.patience, self.min_delta = patience, min_delta
        self.best, self.wait = float("inf"), 0

    def __call__(self, value):
        if value < self.best - self.min_delta:
            self.best, self.wait = value, 0
        else:
            self.wait += 1
        return self.wait >= self.patience


def load():
    digits = load_digits()
    X = torch.from_numpy(digits.data).float() / 16.0
    y = torch.from_numpy(digits.target).long()
    full = TensorDataset(X, y)
    n_val = len(full) // 5
    return random_split(full, [len(full) - n_val, n_val], generator=torch.Generator().manual_seed(42))


def loss_and_accuracy(net, loader):
    net.eval()
    loss = correct = n = 0
    with torch.no_grad():
        for xb, yb in loader:
            scores = net(xb)
            loss += F.cross_entropy(scores, yb, reduction="sum").item()
            correct += scores.argmax(1).eq(yb).sum().item()
            n += len(yb)
    return loss / n, correct / n


def fit(net, train_ds, val_ds, max_epochs=20, lr=0.03):
    train_loader = DataLoader(train_ds, batch_size=50, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=500)
    optim = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True)
    stop = EarlyStopping()
    epoch = 0
    while epoch < max_epochs:
        epoch += 1
        net.train()
        for xb, yb in train_loader:
            loss = F.cross_entropy(net(xb), yb)
            optim.zero_grad()
            loss.backward()
            optim.step()
        val_loss, val_acc = loss_and_accuracy(net, val_loader)
        print("epoch %2d  last batch %.4f  val loss %.4f  val acc %.2f%%" % (epoch, loss.item(), val_loss, 100 * val_acc))
        if stop(val_loss):
            print("no progress, stopping")
            break
    return val_acc


if __name__ == "__main__":
    torch.manual_seed(3)
    train_ds, val_ds = load()
    net = FeedForward((64, 48, 32, 10))
    print(net)
    fit(net, train_ds, val_ds)
