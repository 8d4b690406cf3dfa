import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(99)
S = 20


def draw(n):
    img = 0.15 * torch.randn(n, 1, S, S)
    kind = torch.randint(0, 3, (n,))
    box = torch.zeros(n, 4)
    for i in range(n):
        w, h = torch.randint(5, 10, (2,)).tolist()
        x = torch.randint(0, S - w, (1,)).item()
        y = torch.randint(0, S - h, (1,)).item()
        patch = torch.zeros(h, w)
        if kind[i] == 0:
            patch[:] = 1.0
        elif kind[i] == 1:
            patch[0], patch[-1], patch[:, 0], patch[:, -1] = 1.0, 1.0, 1.0, 1.0
        else:
            patch[::2] = 1.0
        img[i, 0, y:y + h, x:x + w] += patch
        box[i] = torch.tensor([x + w / 2, y + h / 2, w, h]) / S
    return img, kind, box


class Localiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(24 * 25, 96), nn.LeakyReLU(0.1))
        self.cls_head = nn.Linear(96, 3)
        self.box_head = nn.Linear(96, 4)

    def forward(self, img):
        f = self.features(img)
        return self.cls_head(f), self.box_head(f)


def iou(a, b):
    lo = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    hi = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    inter = (hi - lo).clamp(min=0).prod(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter)


train_img, train_cls, train_box = draw(1600)
val_img, val_cls, val_box = draw(300)
net = Localiser()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(4):
    net.train()
    sums = torch.zeros(2)
    for ids in torch.randperm(1600).split(20):
        logits, boxes = net(train_img[ids])
        loss_cls = F.cross_entropy(logits, train_cls[ids])
        loss_box = F.smooth_l1_loss(boxes, train_box[ids], beta=0.05)
        loss = loss_cls + 5.0 * loss_box
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sums += torch.tensor([loss_cls.item(), loss_box.item()]) * len(ids)
    net.eval()
    with torch.no_grad():
        logits, boxes = net(val_img)
    print(f"epoch {epoch}: cls {sums[0] / 1600:.3f} box {sums[1] / 1600:.4f} | "
          f"val acc {(logits.argmax(1) == val_cls).float().mean():.3f} mean IoU {iou(boxes, val_box).mean():.3f}")
