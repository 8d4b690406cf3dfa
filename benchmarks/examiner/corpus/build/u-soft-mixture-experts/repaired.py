"""Mixture of softmax experts on the digits data. Gate and experts are trained together."""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

CFG = dict(experts=4, hidden=32, lr=4e-3, batch_size=64, epochs=12, seed=11)


class ExpertBank(nn.Module):
    """All the experts at once: two batched linear maps."""

    def __init__(self, k, d_in, d_hid, d_out):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(k, d_in, d_hid) * (2.0 / d_in) ** 0.5)
        self.b1 = nn.Parameter(torch.zeros(k, 1, d_hid))
        self.w2 = nn.Parameter(torch.randn(k, d_hid, d_out) * (0.5 / d_hid) ** 0.5)
        self.b2 = nn.Parameter(torch.zeros(k, 1, d_out))

    def forward(self, x):
        h = torch.einsum("bi,kih->kbh", x, self.w1) + self.b1
        h = torch.einsum("kbh,kho->kbo", torch.relu(h), self.w2) + self.b2
        return h.softmax(dim=-1)


class Mixture(nn.Module):
    def __init__(self, cfg, d_in, d_out):
        super().__init__()
        self.bank = ExpertBank(cfg["experts"], d_in, cfg["hidden"], d_out)
        self.gate = nn.Linear(d_in, cfg["experts"])

    def forward(self, x):
        g = torch.softmax(self.gate(x), dim=-1)
        mixture = torch.einsum("bk,kbo->bo", g, self.bank(x))
        return mixture, g


def run_epoch(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    total, correct, count = 0.0, 0, 0
    usage = 0.0
    with torch.set_grad_enabled(training):
        for xb, yb in loader:
            mixture, g = model(xb)
            loss = criterion(torch.log(mixture + 1e-8), yb)
            if training:
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            total += loss.item() * len(xb)
            correct += (mixture.argmax(1) == yb).sum().item()
            usage = usage + g.detach().sum(0)
            count += len(xb)
    return total / count, correct / count, (usage / count).tolist()


def main(cfg):
    torch.manual_seed(cfg["seed"])
    X, y = load_digits(return_X_y=True)
    Xa, Xb, ya, yb = train_test_split(X / 16.0, y, test_size=0.25, stratify=y, random_state=cfg["seed"])
    make = lambda a, b: TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b))
    train_loader = DataLoader(make(Xa, ya), batch_size=cfg["batch_size"], shuffle=True)
    test_loader = DataLoader(make(Xb, yb), batch_size=150)

    model = Mixture(cfg, 64, 10)
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg["lr"])
    criterion = nn.NLLLoss()
    for ep in range(cfg["epochs"]):
        tl, ta, _ = run_epoch(model, train_loader, criterion, optimizer)
        vl, va, usage = run_epoch(model, test_loader, criterion)
        print(f"{ep:>3} train {tl:+.4f}/{ta:.3f}  test {vl:+.4f}/{va:.3f}  gate "
              + ",".join(f"{u:.2f}" for u in usage))


main(CFG)
