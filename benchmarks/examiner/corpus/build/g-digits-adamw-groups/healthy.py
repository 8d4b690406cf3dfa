import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def param_groups_weight_decay(model: nn.Module, weight_decay=1e-2):
    decay, no_decay = [], []
    for name, param in model.named_parameters():
        if not param.requires_grad:
            continue
        if param.ndim <= 1 or name.endswith(".bias"):
            no_decay.append(param)
        else:
            decay.append(param)
    return [
        {"params": no_decay, "weight_decay": 0.0},
        {"params": decay, "weight_decay": weight_decay},
    ]


class MLPBlock(nn.Module):
    def __init__(self, dim, expand=2):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, dim * expand)
        self.fc2 = nn.Linear(dim * expand, dim)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class DigitMixer(nn.Module):
    def __init__(self, dim=48, n_blocks=3):
        super().__init__()
        self.embed = nn.Linear(64, dim)
        self.blocks = nn.ModuleList(MLPBlock(dim) for _ in range(n_blocks))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, x):
        x = self.embed(x)
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x))


X, y = load_digits(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.2, random_state=11)
mu, sd = Xtr.mean(), Xtr.std()
Xtr = torch.tensor((Xtr - mu) / sd, dtype=torch.float)
Xte = torch.tensor((Xte - mu) / sd, dtype=torch.float)
ytr, yte = torch.tensor(ytr), torch.tensor(yte)

torch.manual_seed(11)
net = DigitMixer()
opt = torch.optim.AdamW(param_groups_weight_decay(net, 0.05), lr=1.5e-3)
for g in opt.param_groups:
    print(len(g["params"]), "tensors, weight decay", g["weight_decay"])

for ep in range(8):
    net.train()
    order = torch.randperm(len(ytr))
    for i in range(0, len(order), 48):
        b = order[i:i + 48]
        loss = F.cross_entropy(net(Xtr[b]), ytr[b])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
    net.eval()
    with torch.no_grad():
        logits = net(Xte)
        print(f"{ep:2d}  test loss {F.cross_entropy(logits, yte):.4f}  acc {(logits.argmax(-1) == yte).float().mean():.4f}")
