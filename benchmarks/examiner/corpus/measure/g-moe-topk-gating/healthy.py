import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class Expert(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Linear(h, d))

    def forward(self, x):
        return self.net(x)


class SparseMoE(nn.Module):
    def __init__(self, d, n_experts=4, k=2, hidden=48):
        super().__init__()
        self.gate = nn.Linear(d, n_experts, bias=False)
        self.experts = nn.ModuleList(Expert(d, hidden) for _ in range(n_experts))
        self.k = k

    def forward(self, x):
        scores = F.softmax(self.gate(x), dim=-1)
        top_w, top_i = scores.topk(self.k, dim=-1)
        top_w = top_w / top_w.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            rows, slot = torch.where(top_i == e)
            if rows.numel():
                out = out.index_add(0, rows, top_w[rows, slot, None] * expert(x[rows]))
        load = F.one_hot(top_i, len(self.experts)).float().sum(1).mean(0) / self.k
        balance = len(self.experts) * (load * scores.mean(0)).sum()
        return out, balance, load


class MoEClassifier(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(64, d), nn.GELU())
        self.norm1 = nn.LayerNorm(d)
        self.moe = SparseMoE(d)
        self.norm2 = nn.LayerNorm(d)
        self.head = nn.Linear(d, 10)

    def forward(self, x):
        h = self.embed(x)
        m, balance, load = self.moe(self.norm1(h))
        return self.head(self.norm2(h + m)), balance, load


torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
Xa, Xb, ya, yb = train_test_split((X / 16 - 0.3).astype("float32"), y, test_size=0.25, random_state=0)
Xa, Xb, ya, yb = torch.tensor(Xa), torch.tensor(Xb), torch.tensor(ya), torch.tensor(yb)

model = MoEClassifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for epoch in range(8):
    model.train()
    for idx in torch.randperm(len(Xa)).split(64):
        logits, balance, _ = model(Xa[idx])
        loss = F.cross_entropy(logits, ya[idx]) + 0.01 * balance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        logits, _, load = model(Xb)
        acc = (logits.argmax(1) == yb).float().mean()
    print(f"epoch {epoch} loss {loss.item():.3f} test acc {acc:.3f} load {[round(v, 2) for v in load.tolist()]}")
