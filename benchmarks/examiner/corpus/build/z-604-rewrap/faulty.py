"""Find one bright square in a noisy picture: box regression and kind of texture."""
import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE = 20
KINDS = 3


def render(n, gen):
    image = 0.25 * torch.randn(n, 1, SIZE, SIZE, generator=gen)
    boxes = torch.zeros(n, 4)
    kinds = torch.randint(0, KINDS, (n,), generator=gen)
    for k in range(n):
        w, h = torch.randint(6, 10, (2,), generator=gen).tolist()
        x = torch.randint(0, SIZE - w, (1,), generator=gen).item()
        y = torch.randint(0, SIZE - h, (1,), generator=gen).item()
        patch = torch.ones(h, w)
        if kinds[k] == 1:
            patch[::2] = -1
        elif kinds[k] == 2:
            patch[:, ::2] = -1
        image[k, 0, y:y + h, x:x + w] += patch
        boxes[k] = torch.tensor([x + w / 2, y + h / 2, w, h]) / SIZE
    return image, boxes, kinds


class Detector(nn.Module):
    def __init__(self, ch=16):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, ch, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(ch, 2 * ch, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.neck = nn.Linear(2 * ch * 25, 64)
        self.box = nn.Linear(64, 4)
        self.kind = nn.Linear(64, KINDS)

    def forward(self, x):
        h = F.relu(self.neck(self.backbone(x).flatten(1)))
        return torch.sigmoid(self.box(h)), self.kind(h)


class DetectionLoss:
    def __init__(self, box_weight=5.0):
        self.box_weight = box_weight

    def single(self, box, logits, true_box, true_kind):
        regression = F.l1_loss(box, true_box)
        classification = F.cross_entropy(logits.unsqueeze(0), true_kind.unsqueeze(0))
        return self.box_weight * regression + classification

    def __call__(self, prediction, boxes, kinds):
        per_image = [self.single(*row) for row in zip(*prediction, boxes, kinds)]
        return torch.tensor(per_image, requires_grad=True).mean()  # <-- here


def iou(a, b):
    lo = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    hi = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    inter = (hi - lo).clamp(min=0).prod(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter)


def main():
    gen = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    images, boxes, kinds = render(1200, gen)
    test_images, test_boxes, test_kinds = render(300, gen)
    net = Detector()
    loss_fn = DetectionLoss()
    optim = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(5):
        net.train()
        total = 0.0
        for idx in torch.randperm(len(images)).split(40):
            optim.zero_grad()
            loss = loss_fn(net(images[idx]), boxes[idx], kinds[idx])
            loss.backward()  # <-- here
            optim.step()
            total += loss.item() * len(idx)
        net.eval()
        with torch.no_grad():
            box, logits = net(test_images)
            print(f"epoch {epoch} loss {total / len(images):.3f} test IoU {iou(box, test_boxes).mean():.3f}"
                  f" kind acc {(logits.argmax(1) == test_kinds).float().mean():.3f}")


if __name__ == "__main__":
    main()
