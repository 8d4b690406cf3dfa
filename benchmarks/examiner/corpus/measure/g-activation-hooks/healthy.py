import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(6)
activations = {}


def get_activation(name):
    def hook(module, inputs, output):
        activations[name] = output.detach()
    return hook


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 12, 3, padding=1)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1)
        self.fc1 = nn.Linear(24 * 4, 48)
        self.fc2 = nn.Linear(48, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


data = load_digits()
x = torch.tensor(data.images[:, None] / 16.0 - 0.3, dtype=torch.float32)
xt, xv, yt, yv = train_test_split(x, torch.tensor(data.target), test_size=0.2, random_state=6)

net = Net()
handles = [getattr(net, n).register_forward_hook(get_activation(n)) for n in ("conv1", "conv2", "fc1")]
optimizer = torch.optim.Adam(net.parameters(), lr=1.5e-3)

for epoch in range(6):
    net.train()
    for idx in torch.randperm(len(xt)).split(36):
        loss = F.cross_entropy(net(xt[idx]), yt[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        acc = (net(xv).argmax(1) == yv).float().mean().item()
    stats = "  ".join(f"{k}: {v.mean():+.2f}±{v.std():.2f}" for k, v in activations.items())
    print(f"epoch {epoch} acc {acc:.4f}  {stats}")

for h in handles:
    h.remove()

# which feature maps answer to which digit?
feats = {}
h = net.conv2.register_forward_hook(lambda m, i, o: feats.setdefault("conv2", []).append(o.detach().relu().mean((2, 3))))
with torch.no_grad():
    for chunk in xv.split(100):
        net(chunk)
h.remove()
maps = torch.cat(feats["conv2"])
for digit in range(3):
    print("digit", digit, "strongest maps", maps[yv == digit].mean(0).topk(3).indices.tolist())
