import copy

import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import make_moons


class Net(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.a = nn.Linear(2, width)
        self.b = nn.Linear(width, width)
        self.c = nn.Linear(width, 2)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = self.drop(F.relu(self.b(x)))
        return self.c(x)


@torch.no_grad()
def update_average(teacher, student, decay):
    for t, s in zip(teacher.parameters(), student.parameters()):
        t.mul_(decay).add_(s, alpha=1 - decay)


def test(net, x, y):
    net.eval()
    with torch.no_grad():
        return (net(x).argmax(1) == y).float().mean().item()


torch.manual_seed(10)
pts, lab = make_moons(1500, noise=0.12, random_state=10)
pts = torch.tensor(pts, dtype=torch.float32)
lab = torch.tensor(lab)
x_lab, y_lab = pts[:60], lab[:60]
x_unl = pts[60:1100]
x_test, y_test = pts[1100:], lab[1100:]

student = Net()
teacher = copy.deepcopy(student)
for p in teacher.parameters():
    p.requires_grad = False
optimizer = torch.optim.Adam(student.parameters(), lr=3e-3)

for step in range(300):
    student.train()
    teacher.train()
    pick = torch.randint(len(x_lab), (32,))
    unl = x_unl[torch.randint(len(x_unl), (64,))]
    supervised = F.cross_entropy(student(x_lab[pick]), y_lab[pick])
    with torch.no_grad():
        target = F.softmax(teacher(unl + 0.05 * torch.randn_like(unl)), dim=1)
    guess = F.softmax(student(unl + 0.05 * torch.randn_like(unl)), dim=1)
    consistency = F.mse_loss(guess, target)
    loss = supervised + min(1.0, step / 100) * consistency
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    update_average(teacher, student, min(0.97, 1 - 1 / (step + 1)))
    if step % 50 == 49:
        print(f"{step + 1}: loss {loss.item():.4f} student {test(student, x_test, y_test):.3f} teacher {test(teacher, x_test, y_test):.3f}")
