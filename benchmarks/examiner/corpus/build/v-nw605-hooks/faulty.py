import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Taps:
    """Collects the outputs of chosen layers during a forward pass."""

    def __init__(self, net, names):
        self.store = {}
        table = dict(net.named_modules())
        for n in names:
            table[n].register_forward_hook(self._make(n))

    def _make(self, key):
        def keep(module, args, output):
            self.store[key] = output.detach()  # <-- here
        return keep

    def pop(self):
        out, self.store = self.store, {}
        return out


def stage(i, o, stride):
    return nn.Sequential(nn.Conv2d(i, o, 3, stride=stride, padding=1), nn.ReLU())


class PyramidClassifier(nn.Module):
    def __init__(self, chans=(12, 24, 32), n_classes=10):
        super().__init__()
        c1, c2, c3 = chans
        self.trunk = nn.Sequential()
        self.trunk.add_module("s1", stage(1, c1, 1))
        self.trunk.add_module("s2", stage(c1, c2, 2))
        self.trunk.add_module("s3", stage(c2, c3, 2))
        self.taps = Taps(self.trunk, ["s2", "s3"])
        self.laterals = nn.ModuleDict({"s2": nn.Linear(c2, 24), "s3": nn.Linear(c3 * 4, 24)})
        self.classify = nn.Linear(48, n_classes)

    def forward(self, img):
        self.trunk(img)
        feats = self.taps.pop()
        low = self.laterals["s2"](feats["s2"].mean((2, 3)))
        high = self.laterals["s3"](feats["s3"].flatten(1))
        return self.classify(torch.relu(torch.cat([low, high], 1)))


def loaders(bs=50):
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 8 - 0.6
    y = torch.tensor(d.target)
    parts = random_split(TensorDataset(X, y), [0.8, 0.2], generator=torch.Generator().manual_seed(6))
    return DataLoader(parts[0], bs, shuffle=True), DataLoader(parts[1], 200)


def test(model, loader):
    model.eval()
    ok = 0
    with torch.no_grad():
        for x, y in loader:
            ok += (model(x).argmax(1) == y).sum().item()
    return ok / len(loader.dataset)


def main():
    torch.manual_seed(6)
    train_loader, test_loader = loaders()
    model = PyramidClassifier()
    optim = torch.optim.Adam(model.parameters(), lr=3e-3)
    ce = nn.CrossEntropyLoss()
    for epoch in range(6):
        model.train()
        s = 0.0
        for x, y in train_loader:
            optim.zero_grad()
            loss = ce(model(x), y)
            loss.backward()
            optim.step()
            s += loss.item() * len(y)
        print("epoch", epoch, "loss %.4f" % (s / len(train_loader.dataset)), "test %.4f" % test(model, test_loader))


main()
