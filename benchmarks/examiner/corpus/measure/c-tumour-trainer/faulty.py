import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


class TumourNet(nn.Module):
    def __init__(self, n_features):
        super(TumourNet, self).__init__()
        self.fc1 = nn.Linear(n_features, 24)
        self.fc2 = nn.Linear(24, 24)
        self.fc3 = nn.Linear(24, 24)  # <-- here
        self.out = nn.Linear(24, 1)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        x = F.relu(self.fc2(x))  # <-- here
        return self.out(x)


class Trainer:
    def __init__(self, model, lr=1e-3, batch_size=32):
        self.model = model
        self.batch_size = batch_size
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.BCEWithLogitsLoss()

    def batches(self, X, y):
        order = np.random.permutation(len(X))
        for i in range(0, len(order), self.batch_size):
            pick = order[i:i + self.batch_size]
            yield X[pick], y[pick]

    def fit(self, X, y, epochs):
        for epoch in range(1, epochs + 1):
            self.model.train()
            total = 0.0
            for xb, yb in self.batches(X, y):
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(xb), yb)
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(xb)
            if epoch % 5 == 0:
                print("Epoch [{}/{}] loss: {:.4f}".format(epoch, epochs, total / len(X)))

    @torch.no_grad()
    def score(self, X, y):
        self.model.eval()
        guess = (self.model(X) > 0).float()
        return (guess == y).float().mean().item()


np.random.seed(42)
torch.manual_seed(42)
data = load_breast_cancer()
X_train, X_test, y_train, y_test = train_test_split(data.data, data.target, test_size=0.25, random_state=42)
scaler = StandardScaler().fit(X_train)
X_train = torch.FloatTensor(scaler.transform(X_train))
X_test = torch.FloatTensor(scaler.transform(X_test))
y_train = torch.FloatTensor(y_train).unsqueeze(1)
y_test = torch.FloatTensor(y_test).unsqueeze(1)

trainer = Trainer(TumourNet(X_train.shape[1]))
trainer.fit(X_train, y_train, epochs=20)
print("Test accuracy: {:.3f}".format(trainer.score(X_test, y_test)))
