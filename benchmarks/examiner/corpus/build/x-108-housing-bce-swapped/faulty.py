import csv
import os

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(10)
np.random.seed(10)

PATH = os.path.join(os.environ.get("NETWRIGHT_DATA", "."), "california-housing", "housing.csv")
NUMERIC = ["longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms",
           "population", "households", "median_income"]
LOGGED = {"total_rooms", "total_bedrooms", "population", "households", "median_income"}


def read_table(path, limit=6000):
    with open(path, newline="") as f:
        rows = list(csv.DictReader(f))
    keep = np.random.permutation(len(rows))[:limit]
    X = np.full((limit, len(NUMERIC)), np.nan)
    for j, name in enumerate(NUMERIC):
        col = np.array([float(rows[i][name]) if rows[i][name] else np.nan for i in keep])
        X[:, j] = np.log1p(col) if name in LOGGED else col
    price = np.array([float(rows[i]["median_house_value"]) for i in keep])
    return X, price


class HousingDataset(Dataset):
    """label 1 = dearer than the median block of the training part"""

    def __init__(self, X, price, stats=None):
        if stats is None:
            stats = {"fill": np.nanmedian(X, 0), "mean": np.nanmean(X, 0),
                     "std": np.nanstd(X, 0), "cut": np.median(price)}
        self.stats = stats
        X = np.where(np.isnan(X), stats["fill"], X)
        self.x = torch.tensor((X - stats["mean"]) / stats["std"], dtype=torch.float32)
        self.y = torch.tensor(price > stats["cut"], dtype=torch.float32).unsqueeze(1)

    def __getitem__(self, i):
        return self.x[i], self.y[i]

    def __len__(self):
        return len(self.x)


class PriceNet(nn.Module):
    def __init__(self, in_features):
        super(PriceNet, self).__init__()
        self.hidden1 = nn.Linear(in_features, 48)
        self.hidden2 = nn.Linear(48, 24)
        self.output = nn.Linear(24, 1)

    def forward(self, inputs):
        h = torch.nn.functional.elu(self.hidden1(inputs))
        h = torch.nn.functional.elu(self.hidden2(h))
        return self.output(h)


X, price = read_table(PATH)
train_set = HousingDataset(X[:5000], price[:5000])
test_set = HousingDataset(X[5000:], price[5000:], train_set.stats)
trainloader = DataLoader(train_set, batch_size=64, shuffle=True)
testloader = DataLoader(test_set, batch_size=500)

net = PriceNet(len(NUMERIC))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

for epoch in range(4):
    net.train()
    running_loss = 0.0
    for i, data in enumerate(trainloader, 0):
        inputs, labels = data
        optimizer.zero_grad()
        outputs = net(inputs)
        loss = criterion(labels, outputs)  # <-- here
        loss.backward()
        optimizer.step()

        running_loss += loss.item()
        if i % 25 == 24:
            print("[%d, %5d] loss: %.3f" % (epoch + 1, i + 1, running_loss / 25))
            running_loss = 0.0

    net.eval()
    correct = total = 0
    with torch.no_grad():
        for inputs, labels in testloader:
            predicted = (net(inputs) > 0).float()
            correct += (predicted == labels).sum().item()
            total += labels.size(0)
    print("Accuracy on the %d test blocks: %.1f %%" % (total, 100 * correct / total))

print("Finished Training")
