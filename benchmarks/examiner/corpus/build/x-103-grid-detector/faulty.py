from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class Config:
    side: int = 24
    stride: int = 4
    n_train: int = 1600
    n_test: int = 400
    batch: int = 32
    epochs: int = 5
    lr: float = 3e-3
    pos_weight: float = 6.0
    w_box: float = 4.0
    widths: list[int] = field(default_factory=lambda: [12, 24])


class Preds(NamedTuple):
    obj: Tensor     # (B, S, S)
    xy: Tensor      # (B, 2, S, S), offset inside the cell in [0, 1]


def make_scenes(n: int, cfg: Config, gen: torch.Generator):
    """Grey noise with one to three bright discs; the target grid holds (objectness, dx, dy)."""
    s = cfg.side // cfg.stride
    yy, xx = torch.meshgrid(torch.arange(cfg.side), torch.arange(cfg.side), indexing="ij")
    imgs = 0.25 * torch.randn(n, 1, cfg.side, cfg.side, generator=gen)
    tgt = torch.zeros(n, 3, s, s)
    for i in range(n):
        for _ in range(int(torch.randint(1, 4, (1,), generator=gen))):
            cx, cy = (torch.rand(2, generator=gen) * (cfg.side - 4) + 2).tolist()
            imgs[i, 0] += 1.2 * torch.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / 4.0)
            gx, gy = int(cx // cfg.stride), int(cy // cfg.stride)
            tgt[i, :, gy, gx] = torch.tensor([1.0, cx / cfg.stride - gx, cy / cfg.stride - gy])
    return imgs, tgt


def block(cin: int, cout: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, 3, padding=1, bias=False),
        nn.BatchNorm2d(cout),
        nn.SiLU(),
        nn.MaxPool2d(2),
    )


class TinyDetector(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        chans = [1, *cfg.widths]
        self.backbone = nn.Sequential(*[block(a, b) for a, b in zip(chans, chans[1:])])
        self.neck = nn.Sequential(nn.Conv2d(chans[-1], 32, 3, padding=1), nn.SiLU())
        self.head = nn.Conv2d(32, 3, 1)

    @staticmethod
    def decode(raw: Tensor) -> Preds:
        unit = torch.special.expit(raw)  # <-- here
        return Preds(obj=unit[:, 0], xy=unit[:, 1:])

    def forward(self, x: Tensor) -> Preds:
        return self.decode(self.head(self.neck(self.backbone(x))))


class DetectionLoss(nn.Module):
    def __init__(self, cfg: Config):
        super().__init__()
        self.cfg = cfg

    def forward(self, pred: Preds, target: Tensor) -> tuple[Tensor, dict]:
        mask = target[:, 0]
        weight = 1.0 + (self.cfg.pos_weight - 1.0) * mask
        conf = F.binary_cross_entropy_with_logits(pred.obj, mask, weight=weight)  # <-- here
        box = (mask.unsqueeze(1) * (pred.xy - target[:, 1:]) ** 2).sum() / mask.sum().clamp(min=1)
        return conf + self.cfg.w_box * box, {"conf": conf.item(), "box": box.item()}


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader, thr: float = 0.5) -> dict:
    model.eval()
    tp = fp = fn = 0
    err, n = 0.0, 0
    for img, tgt in loader:
        out = model(img)
        hit, true = out.obj > thr, tgt[:, 0] > 0.5
        tp += (hit & true).sum().item()
        fp += (hit & ~true).sum().item()
        fn += (~hit & true).sum().item()
        d = (out.xy - tgt[:, 1:]).abs().mean(1)[true]
        err, n = err + d.sum().item(), n + d.numel()
    prec, rec = tp / max(tp + fp, 1), tp / max(tp + fn, 1)
    return {"P": prec, "R": rec, "F1": 2 * prec * rec / max(prec + rec, 1e-9), "offset": err / n}


def run(cfg: Config) -> None:
    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(5)
    train = DataLoader(TensorDataset(*make_scenes(cfg.n_train, cfg, gen)), cfg.batch, shuffle=True)
    test = DataLoader(TensorDataset(*make_scenes(cfg.n_test, cfg, gen)), 100)
    net = TinyDetector(cfg)
    loss_fn = DetectionLoss(cfg)
    opt = optim.AdamW(net.parameters(), lr=cfg.lr, weight_decay=1e-4)
    for epoch in range(cfg.epochs):
        net.train()
        sums: dict = {"conf": 0.0, "box": 0.0}
        for img, tgt in train:
            loss, parts = loss_fn(net(img), tgt)
            opt.zero_grad()
            loss.backward()
            opt.step()
            for k, v in parts.items():
                sums[k] += v * len(img)
        line = "  ".join(f"{k}={v / cfg.n_train:.4f}" for k, v in sums.items())
        print(f"epoch {epoch}: {line} |", {k: round(v, 3) for k, v in evaluate(net, test).items()})


if __name__ == "__main__":
    run(Config())
