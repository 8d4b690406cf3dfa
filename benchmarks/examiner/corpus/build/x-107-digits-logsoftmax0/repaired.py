# In[1]:
import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import StratifiedShuffleSplit

torch.manual_seed(0)
device = "cpu"

# In[2]: the data
bunch = load_digits()
images = (bunch.images / 8.0 - 1.0).astype("float32")[:, None]
labels = bunch.target.astype("int64")
train_idx, test_idx = next(StratifiedShuffleSplit(1, test_size=0.25, random_state=0).split(images, labels))

ds_train = TensorDataset(torch.from_numpy(images[train_idx]), torch.from_numpy(labels[train_idx]))
ds_test = TensorDataset(torch.from_numpy(images[test_idx]), torch.from_numpy(labels[test_idx]))
train_loader = DataLoader(ds_train, batch_size=32, shuffle=True, drop_last=True)
test_loader = DataLoader(ds_test, batch_size=32)

xb, yb = next(iter(train_loader))
print(xb.shape, yb.shape, xb.min().item(), xb.max().item())

# In[3]: the network
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
    nn.LogSoftmax(dim=1),
).to(device)

loss_function = nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
sum(p.numel() for p in model.parameters())

# In[4]: training
history = {"loss": [], "acc": []}
for epoch in range(8):
    model.train()
    epoch_loss = 0.0
    for images_b, labels_b in train_loader:
        images_b, labels_b = images_b.to(device), labels_b.to(device)
        log_ps = model(images_b)
        loss = loss_function(log_ps, labels_b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item()
    history["loss"].append(epoch_loss / len(train_loader))

    model.eval()
    guesses, truth = [], []
    with torch.no_grad():
        for images_b, labels_b in test_loader:
            guesses.append(model(images_b.to(device)).argmax(dim=1).cpu().numpy())
            truth.append(labels_b.numpy())
    guesses, truth = np.concatenate(guesses), np.concatenate(truth)
    history["acc"].append((guesses == truth).mean())
    print(f"Epoch {epoch + 1}/8 - loss: {history['loss'][-1]:.4f} - test acc: {history['acc'][-1]:.4f}")

# In[5]:
print(confusion_matrix(truth, guesses))
print("final:", history["acc"][-1])
