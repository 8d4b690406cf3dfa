import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits

torch.manual_seed(0)


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r: int = 4, alpha: int = 8):
        super().__init__()
        self.base = base
        for p in self.base.parameters():
            p.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = alpha / r

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.t() @ self.lora_B.t()) * self.scaling


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc2 = nn.Linear(96, 96)
        self.head = nn.Linear(96, 10)

    def forward(self, x):
        return self.head(F.relu(self.fc2(F.relu(self.fc1(x)))))


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


def fit(model, x, y, x_test, y_test, epochs, lr, tag):
    params = [p for p in model.parameters() if p.requires_grad]
    print(tag, "trainable parameters:", sum(p.numel() for p in params))
    opt = torch.optim.AdamW(params, lr=lr)
    for epoch in range(epochs):
        model.train()
        for idx in torch.randperm(len(x)).split(40):
            loss = F.cross_entropy(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"  {tag} epoch {epoch} loss {loss.item():.3f} test acc {accuracy(model, x_test, y_test):.3f}")


d = load_digits()
X, Y = torch.tensor(d.images, dtype=torch.float32) / 8 - 0.6, torch.tensor(d.target)
order = torch.randperm(len(X))
X, Y = X[order], Y[order]
base_x, tune_x, test_x = X[:800], X[800:1400], X[1400:]
base_y, tune_y, test_y = Y[:800], Y[800:1400], Y[1400:]

model = Classifier()
fit(model, base_x.flatten(1), base_y, test_x.flatten(1), test_y, epochs=6, lr=3e-3, tag="pretrain")

# new domain: the same digits lying on their side
tune_x, test_x = (t.transpose(1, 2).flatten(1) for t in (tune_x, test_x))
print("before adaptation:", accuracy(model, test_x, test_y))
for p in model.parameters():
    p.requires_grad_(False)
for name in ("fc1", "fc2", "head"):
    setattr(model, name, LoRALinear(getattr(model, name)))
fit(model, tune_x, tune_y, test_x, test_y, epochs=8, lr=5e-3, tag="lora")
