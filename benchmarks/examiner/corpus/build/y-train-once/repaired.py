import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(2024)

# ---------------------------------------------------------------- data
X, y = load_digits(return_X_y=True)
dataset = TensorDataset(torch.tensor(X / 16 - 0.3, dtype=torch.float32), torch.tensor(y))
n_val = len(dataset) // 5
train_set, val_set = random_split(dataset, [len(dataset) - n_val, n_val])
train_dl = DataLoader(train_set, batch_size=48, shuffle=True, drop_last=True)
val_dl = DataLoader(val_set, batch_size=128)


# ---------------------------------------------------------------- model
class ResBlock(nn.Module):
    def __init__(self, width, p):
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.lin = nn.Linear(width, width)
        self.drop = nn.Dropout(p)

    def forward(self, x):
        return x + self.drop(torch.relu(self.lin(self.norm(x))))


class ResMLP(nn.Module):
    def __init__(self, n_in=64, width=64, blocks=2, n_out=10, p=0.3):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(n_in, width), nn.ReLU())
        self.blocks = nn.Sequential(*[ResBlock(width, p) for _ in range(blocks)])
        self.head = nn.Linear(width, n_out)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


model = ResMLP().to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)


def compute_accuracy(net, loader):
    net.eval()
    right = 0
    with torch.no_grad():
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            right += (net(xb).argmax(1) == yb).sum().item()
    return right / len(loader.dataset)


# ---------------------------------------------------------------- training
best = 0.0
for epoch in range(8):
    model.train()
    total_loss, total = 0.0, 0
    for xb, yb in train_dl:
        xb, yb = xb.to(device), yb.to(device)
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(xb)
        total += len(xb)
    scheduler.step()
    val_acc = compute_accuracy(model, val_dl)
    best = max(best, val_acc)
    print(f"Epoch [{epoch + 1}/8] lr {scheduler.get_last_lr()[0]:.4f} "
          f"loss {total_loss / total:.4f} val acc {val_acc:.4f}")
print("best", round(best, 4))
