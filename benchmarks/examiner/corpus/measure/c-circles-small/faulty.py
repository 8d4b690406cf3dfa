import torch
import torch.nn as nn
from sklearn.datasets import make_circles

torch.manual_seed(9)


class Neuron(nn.Module):
    def forward(self, x):
        return (x > 0).float()  # <-- here


X, y = make_circles(n_samples=1500, noise=0.08, factor=0.55, random_state=9)
X = torch.tensor(X, dtype=torch.float32) * 1.8
y = torch.tensor(y, dtype=torch.long)
X_train, X_test = X[:1100], X[1100:]
y_train, y_test = y[:1100], y[1100:]

model = nn.Sequential(nn.Linear(2, 6), Neuron(), nn.Linear(6, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.03)

for epoch in range(1, 13):
    for batch in torch.randperm(len(X_train)).split(55):
        optimizer.zero_grad()
        loss = criterion(model(X_train[batch]), y_train[batch])
        loss.backward()
        optimizer.step()
    if epoch % 3 == 0:
        with torch.no_grad():
            predicted = model(X_test).argmax(dim=1)
        print(f"Epoch {epoch:3d} | loss {loss.item():.4f} | test accuracy {(predicted == y_test).float().mean():.3f}")
