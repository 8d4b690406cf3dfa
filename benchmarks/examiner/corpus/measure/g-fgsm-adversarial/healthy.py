import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.manual_seed(123)
EPS = 0.08


def fgsm_attack(model, images, labels, epsilon):
    images = images.clone().detach().requires_grad_(True)
    loss = F.cross_entropy(model(images), labels)
    grad, = torch.autograd.grad(loss, images)
    adv = images + epsilon * grad.sign()
    return adv.clamp(0, 1).detach()


digits = load_digits()
dataset = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target))
train_ds, test_ds = random_split(dataset, [1400, 397])
train_loader = DataLoader(train_ds, batch_size=50, shuffle=True)
test_loader = DataLoader(test_ds, batch_size=100)

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)


def evaluate():
    model.eval()
    clean = robust = total = 0
    for x, y in test_loader:
        x_adv = fgsm_attack(model, x, y, EPS)
        with torch.no_grad():
            clean += (model(x).argmax(1) == y).sum().item()
            robust += (model(x_adv).argmax(1) == y).sum().item()
        total += len(y)
    return clean / total, robust / total


for epoch in range(8):
    model.train()
    for x, y in train_loader:
        x_adv = fgsm_attack(model, x, y, EPS)
        optimizer.zero_grad()
        loss = 0.5 * F.cross_entropy(model(x), y) + 0.5 * F.cross_entropy(model(x_adv), y)
        loss.backward()
        optimizer.step()
    c, r = evaluate()
    print(f"Epoch {epoch}: loss {loss.item():.3f}\tclean {c:.3f}\tFGSM(eps={EPS}) {r:.3f}")
