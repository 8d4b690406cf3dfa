from dataclasses import dataclass, field
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


@dataclass
class Options:
    channels: tuple = (16, 32)
    dropout: float = 0.4
    lr: float = 2e-3
    batch: int = 40
    epochs: int = 5
    frozen: list = field(default_factory=list)   # names of norms kept at their statistics


class ConvNet(nn.Module):
    def __init__(self, o: Options):
        super().__init__()
        a, b = o.channels
        self.conv1, self.norm1 = nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a)
        self.conv2, self.norm2 = nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b)
        self.drop = nn.Dropout(o.dropout)
        self.linear = nn.Linear(b * 4, 10)
        self.frozen = o.frozen

    def train(self, mode=True):
        super().train()  # <-- here
        for name in self.frozen:
            getattr(self, name).eval()
        return self

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        return self.linear(self.drop(x.flatten(1)))


def predict(net, images, batch=90):
    net.eval()  # <-- here
    with torch.no_grad():
        out = [net(part).argmax(1) for part in images.split(batch)]  # <-- here
    net.train()
    return torch.cat(out)


def main(o=Options()):
    torch.manual_seed(13)
    d = load_digits()
    xa, xb, ya, yb = train_test_split(d.images[:, None] / 16.0, d.target, test_size=360, random_state=13)
    xa, xb = (torch.tensor(v, dtype=torch.float32).sub(0.3).div(0.37) for v in (xa, xb))
    ya, yb = torch.tensor(ya), torch.tensor(yb)
    net = ConvNet(o)
    net.train()
    opt = torch.optim.AdamW(net.parameters(), lr=o.lr)
    for epoch in range(o.epochs):
        total = 0.0
        for rows in torch.randperm(len(xa)).split(o.batch):
            loss = F.cross_entropy(net(xa[rows]), ya[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(rows)
        pred = predict(net, xb)
        print(f"{epoch} loss {total / len(xa):.4f} held-out accuracy {(pred == yb).double().mean():.4f}")


main()
