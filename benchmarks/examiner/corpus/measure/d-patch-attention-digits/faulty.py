import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class TinyViT(nn.Module):
    """8x8 digits cut into sixteen 2x2 patches."""

    def __init__(self, dim: int = 32, heads: int = 4, n_classes: int = 10):
        super().__init__()
        self.embed = nn.Linear(4, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        self.norm1 = nn.LayerNorm(dim)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm3 = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, n_classes)

    def forward(self, img):
        b = img.shape[0]
        patches = img.unfold(1, 2, 2).unfold(2, 2, 2).reshape(b, 16, 4)
        h = torch.cat([self.cls_token.expand(b, -1, -1), self.embed(patches)], dim=1)
        h = h + self.pos_embed
        n = self.norm1(h)
        h = h + self.attn(n, n, n, need_weights=False)[0]
        h = h + self.ff(self.norm2(h))
        return self.head(self.norm3(h[:, 0]))


def configure_optimizer(net: nn.Module, lr: float, weight_decay: float):
    decay, no_decay = [], []
    for name, param in net.named_parameters():
        if name.endswith("bias") or "norm" in name:
            no_decay.append(param)
        elif name.endswith("weight"):  # <-- here
            decay.append(param)
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)  # <-- here


def main() -> None:
    torch.manual_seed(1234)
    d = load_digits()
    tr_x, te_x, tr_y, te_y = train_test_split(d.images / 16.0, d.target, test_size=0.25, random_state=4)
    mean, std = tr_x.mean(), tr_x.std()
    tr_x = torch.tensor((tr_x - mean) / std, dtype=torch.float32)
    te_x = torch.tensor((te_x - mean) / std, dtype=torch.float32)
    tr_y, te_y = torch.tensor(tr_y), torch.tensor(te_y)

    net = TinyViT()
    optimizer = configure_optimizer(net, lr=3e-3, weight_decay=0.01)
    for epoch in range(8):
        net.train()
        for idx in torch.randperm(len(tr_x)).split(64):
            loss = F.cross_entropy(net(tr_x[idx]), tr_y[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.inference_mode():
            acc = (net(te_x).argmax(-1) == te_y).float().mean().item()
        print(f"epoch={epoch} last_loss={loss.item():.3f} test_acc={acc:.3f}")


if __name__ == "__main__":
    main()
