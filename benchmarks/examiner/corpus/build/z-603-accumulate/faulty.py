from collections import namedtuple

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

Config = namedtuple("Config", "hidden lr micro_batch effective_batch epochs seed")
CFG = Config(hidden=32, lr=3e-3, micro_batch=16, effective_batch=512, epochs=35, seed=0)


class TabularNet(nn.Module):
    def __init__(self, n_features: int, hidden: int):
        super().__init__()
        self.stem = nn.Linear(n_features, hidden)
        self.mid = nn.Linear(hidden, hidden)
        self.skip = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h = nn.functional.gelu(self.stem(x))
        h = self.skip(h + nn.functional.gelu(self.mid(h)))
        return self.out(h).view(-1)


class Trainer:
    def __init__(self, model: nn.Module, cfg: Config, train_loader: DataLoader, val_loader: DataLoader):
        self.model = model
        self.cfg = cfg
        self.train_loader = train_loader
        self.val_loader = val_loader
        self.optimizer = optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=1e-2)
        self.criterion = nn.BCEWithLogitsLoss()
        self.best = 0.0

    @property
    def accumulation_steps(self) -> int:
        return max(1, self.cfg.effective_batch // self.cfg.micro_batch)

    def train_epoch(self) -> float:
        self.model.train()
        self.optimizer.zero_grad()
        total = 0.0
        for step, (features, target) in enumerate(self.train_loader, start=1):
            loss = self.criterion(self.model(features), target)
            (loss / self.accumulation_steps).backward()  # <-- here
            total += loss.item() * len(target)
            if step % self.accumulation_steps == 0:  # <-- here
                self.optimizer.step()
                self.optimizer.zero_grad()
        return total / len(self.train_loader.dataset)

    def validate(self) -> float:
        self.model.eval()
        correct = 0
        with torch.inference_mode():
            for features, target in self.val_loader:
                correct += ((self.model(features) > 0) == (target > 0.5)).sum().item()
        return correct / len(self.val_loader.dataset)

    def run(self):
        for epoch in range(self.cfg.epochs):
            loss, acc = self.train_epoch(), self.validate()
            self.best = max(self.best, acc)
            if epoch % 5 == 4:
                print(f"epoch {epoch + 1:3d} loss {loss:.4f} val acc {acc:.4f}")
        print("best", round(self.best, 4))


def get_loaders(cfg: Config):
    X, y = load_breast_cancer(return_X_y=True)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.21, stratify=y, random_state=cfg.seed)
    sc = StandardScaler()
    X_tr, X_va = sc.fit_transform(X_tr), sc.transform(X_va)

    def ds(a, b):
        return TensorDataset(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))

    return (DataLoader(ds(X_tr, y_tr), batch_size=cfg.micro_batch, shuffle=True, drop_last=True),
            DataLoader(ds(X_va, y_va), batch_size=128))


if __name__ == "__main__":
    torch.manual_seed(CFG.seed)
    train_loader, val_loader = get_loaders(CFG)
    Trainer(TabularNet(30, CFG.hidden), CFG, train_loader, val_loader).run()
