# %% imports
import torch
from torch import nn, optim
from collections import OrderedDict
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, Subset

# %% data
digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)
labels = torch.tensor(digits.target)
images = (images / 16 - 0.5) / 0.5
ds = TensorDataset(images, labels)
perm = torch.randperm(len(ds), generator=torch.Generator().manual_seed(0)).tolist()
trainloader = DataLoader(Subset(ds, perm[:1400]), batch_size=40, shuffle=True)
testloader = DataLoader(Subset(ds, perm[1400:]), batch_size=40)

# %% model
model = nn.Sequential(OrderedDict([
    ('fc1', nn.Linear(64, 64)),
    ('relu1', nn.ReLU()),
    ('fc2', nn.Linear(64, 32)),
    ('relu2', nn.ReLU()),
    ('output', nn.Linear(32, 10)),
    ('logsoftmax', nn.LogSoftmax(dim=1))]))
criterion = nn.NLLLoss()
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

# %% train
epochs = 8
train_losses, test_losses = [], []
for e in range(epochs):
    running_loss = 0
    for imgs, lbls in trainloader:
        imgs = imgs.view(imgs.shape[0], -1)
        optimizer.zero_grad()
        log_ps = model(imgs)
        loss = criterion(log_ps, lbls)
        loss.backward()
        optimizer.step()
        running_loss += loss.item() * len(lbls)
    else:
        test_loss = 0
        hits = 0
        with torch.no_grad():
            model.eval()
            for imgs, lbls in testloader:
                log_ps = model(imgs.view(imgs.shape[0], -1))
                test_loss += criterion(log_ps, lbls).item() * len(lbls)
                ps = torch.exp(log_ps)
                top_p, top_class = ps.topk(1, dim=1)
                hits += (top_class == lbls.view(*top_class.shape)).sum().item()
        model.train()
        train_losses.append(running_loss / 1400)
        test_losses.append(test_loss / len(testloader.dataset))
        print("Epoch: {}/{}.. ".format(e + 1, epochs),
              "Training Loss: {:.3f}.. ".format(train_losses[-1]),
              "Test Loss: {:.3f}.. ".format(test_losses[-1]),
              "Test Accuracy: {:.3f}".format(hits / len(testloader.dataset)))
