import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE, N_TRAIN, N_TEST, BATCH, EPOCHS = 32, 400, 100, 10, 6


def make_scans(n, generator):
    """Noisy scans; about half of them hold one or two faint round spots."""
    yy, xx = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    masks = torch.zeros(n, 1, SIZE, SIZE)
    for mask in masks:
        for _ in range(int(torch.randint(1, 3, (1,), generator=generator))):
            cy, cx = torch.randint(4, SIZE - 4, (2,), generator=generator).tolist()
            mask[0][(yy - cy) ** 2 + (xx - cx) ** 2 <= 6] = 1.0
    scans = torch.randn(n, 1, SIZE, SIZE, generator=generator) + 0.75 * masks
    return scans, masks


class SegNet(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.inc = nn.Conv2d(1, width, 5, padding=2)
        self.mid = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        x = F.relu(self.inc(x))
        x = F.relu(self.mid(x))
        return self.out(x)


def report(net, scans, masks):
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(chunk) > 0 for chunk in scans.split(25)])
    spot = masks.bool()
    sensitivity = found[spot].float().mean().item()
    specificity = 1 - found[~spot].float().mean().item()
    pixel_acc = (found == spot).float().mean().item()
    return f"pixel accuracy {pixel_acc:.3f} sensitivity {sensitivity:.3f} specificity {specificity:.3f}"


generator = torch.Generator().manual_seed(17)
torch.manual_seed(17)
scans, masks = make_scans(N_TRAIN, generator)
test_scans, test_masks = make_scans(N_TEST, generator)

net = SegNet()
loss_fn = nn.BCEWithLogitsLoss(pos_weight=(1 - masks).sum() / masks.sum())
optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

for epoch in range(1, EPOCHS + 1):
    net.train()
    losses = []
    for idx in torch.randperm(N_TRAIN).split(BATCH):
        prediction = net(scans[idx])
        loss = loss_fn(prediction, masks[idx])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} {report(net, test_scans, test_masks)}")
