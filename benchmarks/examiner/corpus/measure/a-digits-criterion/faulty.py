import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from sklearn.model_selection import train_test_split


def get_data(seed):
    d = datasets.load_digits()
    xa, xb, ya, yb = train_test_split(d.images, d.target, test_size=0.3, random_state=seed)
    to_x = lambda a: torch.tensor(a, dtype=torch.float32).flatten(1) / 16
    return to_x(xa), torch.tensor(ya), to_x(xb), torch.tensor(yb)


class Perceptron(nn.Module):
    def __init__(self, units=(64, 80, 40, 10)):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(units[:-1], units[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x))
        return self.layers[-1](x)


def criterion(scores, labels):
    return F.mse_loss(scores, labels.float().view(-1, 1))  # <-- here


def run_epoch(model, x, y, optimizer, batch_size=40):
    model.train()
    seen = 0
    for rows in torch.randperm(len(x)).split(batch_size):
        scores = model(x[rows])
        loss = criterion(scores, y[rows])  # <-- here
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += loss.item() * len(rows)
    return seen / len(x)


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return torch.eq(model(x).argmax(dim=1), y).float().mean().item()


if __name__ == '__main__':
    torch.manual_seed(10)
    xa, ya, xb, yb = get_data(10)
    model = Perceptron()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    for epoch in range(8):
        mean_loss = run_epoch(model, xa, ya, optimizer)
        print('epoch', epoch, 'loss', round(mean_loss, 4), 'test', round(accuracy(model, xb, yb), 4))
