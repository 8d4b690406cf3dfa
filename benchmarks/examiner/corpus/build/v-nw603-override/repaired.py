import torch
import torch.nn as nn
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset


class BaseTrainer:
    def __init__(self, model, lr=5e-3, epochs=10):
        self.model = model
        self.base_lr = lr
        self.epochs = epochs
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-3)
        self.global_step = 0

    def compute_loss(self, batch):
        x, y = batch
        return nn.functional.binary_cross_entropy_with_logits(self.model(x).squeeze(1), y)

    def optimizer_step(self):
        self.optimizer.step()
        self.global_step += 1

    def train(self, train_loader, eval_loader):
        for epoch in range(self.epochs):
            self.model.train()
            total, count = 0.0, 0
            for batch in train_loader:
                self.optimizer.zero_grad()
                loss = self.compute_loss(batch)
                loss.backward()
                self.optimizer_step()
                total += loss.item() * len(batch[0])
                count += len(batch[0])
            acc = self.evaluate(eval_loader)
            print(f"epoch {epoch} loss {total / count:.4f} eval_acc {acc:.3f} "
                  f"lr {self.optimizer.param_groups[0]['lr']:.5f}")

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        good = n = 0
        for x, y in loader:
            good += ((self.model(x).squeeze(1) > 0).float() == y).sum().item()
            n += len(y)
        return good / n


class WarmupTrainer(BaseTrainer):
    def __init__(self, *args, warmup=20, **kw):
        super().__init__(*args, **kw)
        self.warmup = warmup

    def optimizer_step(self):
        factor = min(1.0, (self.global_step + 1) / self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = self.base_lr * factor
        super().optimizer_step()


def moons(n, seed):
    x, y = make_moons(n, noise=0.15, random_state=seed)
    return TensorDataset(torch.tensor(x - [0.5, 0.25], dtype=torch.float32),
                         torch.tensor(y, dtype=torch.float32))


def main():
    torch.manual_seed(17)
    mlp = nn.Sequential(nn.Linear(2, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 1))
    trainer = WarmupTrainer(mlp, epochs=10, warmup=20)
    trainer.train(DataLoader(moons(640, 1), batch_size=32, shuffle=True),
                  DataLoader(moons(300, 2), batch_size=100))


main()
