import gzip
import os

import numpy as np
import torch
import torch.nn as nn

DATA = os.environ["NETWRIGHT_DATA"] + "/fashion-mnist/"


def images(filename, n):
    with gzip.open(DATA + filename) as f:
        pixels = np.frombuffer(f.read(16 + n * 784), np.uint8, offset=16)
    return torch.tensor(pixels.reshape(n, 1, 28, 28) / 255.0, dtype=torch.float32)


def labels(filename, n):
    with gzip.open(DATA + filename) as f:
        return torch.tensor(np.frombuffer(f.read(8 + n), np.uint8, offset=8).astype("int64"))


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 6 * 6, 64),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(64, 10),
    )


def train(model, X, y, epochs, batch_size):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    history = []
    for epoch in range(epochs):
        model.train()
        order = torch.randperm(len(X))
        epoch_loss = 0.0
        for i in range(0, len(X), batch_size):
            sel = order[i:i + batch_size]
            optimizer.zero_grad()
            loss = criterion(model(X[sel]), y[sel])
            loss.backward()
            optimizer.step()
            epoch_loss += loss.item() * len(sel)
        history.append(epoch_loss / len(X))
        print("Epoch", epoch + 1, "- loss:", round(history[-1], 4))
    return history


def test(model, X, y):
    model.eval()
    with torch.no_grad():
        prediction = model(X).argmax(dim=1)
    return (prediction == y).float().mean().item()


torch.manual_seed(17)
X_train = images("train-images-idx3-ubyte.gz", 4000)
y_train = labels("train-labels-idx1-ubyte.gz", 4000)
X_test = images("t10k-images-idx3-ubyte.gz", 1000)
y_test = labels("t10k-labels-idx1-ubyte.gz", 1000)

cnn = build()
train(cnn, X_train, y_train, epochs=4, batch_size=64)
print("Accuracy on test images:", round(test(cnn, X_test, y_test), 3))
