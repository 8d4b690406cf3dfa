import torch
from torch import nn
from sklearn.datasets import make_circles


class SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        pos = x.clamp(min=0)
        ctx.save_for_backward(pos)
        return pos * pos

    @staticmethod
    def backward(ctx, grad_output):
        (pos,) = ctx.saved_tensors
        return grad_output * 2 * pos


class CircleNet(nn.Module):
    def __init__(self, h=32):
        super().__init__()
        self.a = nn.Linear(2, h)
        self.b = nn.Linear(h, h)
        self.c = nn.Linear(h, 1)

    def forward(self, p):
        p = SquaredReLU.apply(self.a(p))
        p = SquaredReLU.apply(self.b(p))
        return self.c(p).squeeze(-1)


torch.manual_seed(10)
pts, lab = make_circles(2000, noise=0.08, factor=0.5, random_state=10)
pts = torch.tensor(pts / pts[:1500].std(), dtype=torch.float32)
lab = torch.tensor(lab, dtype=torch.float32)
train_p, train_l, test_p, test_l = pts[:1500], lab[:1500], pts[1500:], lab[1500:]

probe = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
print("gradcheck:", torch.autograd.gradcheck(SquaredReLU.apply, (probe,)))

net = CircleNet()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
bce = nn.BCEWithLogitsLoss()
for epoch in range(6):
    for b in torch.randperm(1500).split(50):
        opt.zero_grad(set_to_none=True)
        loss = bce(net(train_p[b]), train_l[b])
        loss.backward()
        opt.step()
    with torch.no_grad():
        out = net(test_p)
        acc = ((out > 0).float() == test_l).float().mean()
    print(f"epoch {epoch}: test loss {bce(out, test_l):.4f} acc {acc:.4f}")
