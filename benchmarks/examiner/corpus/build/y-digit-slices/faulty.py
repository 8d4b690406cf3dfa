# Handwritten digits (8x8), notebook exported to .py
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

# In[1]: data
rng = np.random.RandomState(42)
torch.manual_seed(42)

digits = load_digits()
order = rng.permutation(len(digits.target))
images = digits.images[order] / 16.0
labels = digits.target[order]
print("all:", images.shape, "labels:", np.bincount(labels))

# In[2]: split
n_train, n_test = 1400, 397
X_train = torch.tensor(images[:n_train], dtype=torch.float32).unsqueeze(1)
y_train = torch.tensor(labels[:n_train])
X_test = torch.tensor(images[n_train - n_test:], dtype=torch.float32).unsqueeze(1)  # <-- here
y_test = torch.tensor(labels[n_train - n_test:])
print("train", tuple(X_train.shape), "test", tuple(X_test.shape))


# In[3]: model
class SmallCNN(nn.Module):
    def __init__(self):
        super(SmallCNN, self).__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.drop = nn.Dropout(0.25)
        self.fc = nn.Linear(32 * 2 * 2, 10)

    def forward(self, x):
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = self.drop(torch.flatten(x, 1))
        return self.fc(x)


net = SmallCNN()
print(net)
print("parameters:", sum(p.numel() for p in net.parameters()))

# In[4]: training
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
loss_fn = nn.CrossEntropyLoss()
batch_size = 50
history = {"loss": [], "acc": []}

for epoch in range(8):
    net.train()
    perm = torch.randperm(n_train)
    epoch_loss = 0.0
    for start in range(0, n_train, batch_size):
        take = perm[start:start + batch_size]
        optimizer.zero_grad()
        logits = net(X_train[take])
        loss = loss_fn(logits, y_train[take])
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * len(take)
    history["loss"].append(epoch_loss / n_train)

    net.eval()
    with torch.no_grad():
        pred = net(X_test).argmax(dim=1)  # <-- here
    acc = (pred == y_test).float().mean().item()
    history["acc"].append(acc)
    print(f"epoch {epoch}: loss {history['loss'][-1]:.4f}, test accuracy {acc:.4f}")

# In[5]: confusion
confusion = np.zeros((10, 10), dtype=int)
for t, p in zip(y_test.tolist(), pred.tolist()):
    confusion[t, p] += 1
print(confusion)
