import torch
from torch import nn, optim
from torch.utils.data import TensorDataset, DataLoader, random_split
from sklearn.datasets import load_digits

torch.manual_seed(42)

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 8.0 - 1.0
labels = torch.tensor(digits.target)
train_set, test_set = random_split(TensorDataset(images, labels), [1400, len(images) - 1400])
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)

depth, width = 9, 48
layers = []
n_in = 64
for _ in range(depth):
    layers += [nn.Linear(n_in, width), nn.Tanh()]
    n_in = width
layers.append(nn.Linear(n_in, 10))
mlp = nn.Sequential(*layers)
for m in mlp:
    if isinstance(m, nn.Linear):
        nn.init.xavier_uniform_(m.weight)
        nn.init.zeros_(m.bias)

loss_function = nn.CrossEntropyLoss()
opt = optim.SGD(mlp.parameters(), lr=0.05, momentum=0.9)

for epoch in range(12):
    mlp.train()
    for xb, yb in train_loader:
        opt.zero_grad()
        loss = loss_function(mlp(xb), yb)
        loss.backward()
        opt.step()

    mlp.eval()
    correct, seen, test_loss = 0, 0, 0.0
    with torch.no_grad():
        for xb, yb in test_loader:
            out = mlp(xb)
            test_loss += nn.functional.cross_entropy(out, yb, reduction="sum").item()
            correct += (out.argmax(dim=1) == yb).sum().item()
            seen += yb.numel()
    print("epoch", epoch, "test loss", round(test_loss / seen, 4), "accuracy", round(correct / seen, 4))
