import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(77)
T, ALPHA = 4.0, 0.2

digits = load_digits()
xs = torch.tensor(digits.data, dtype=torch.float32) / 16
ys = torch.tensor(digits.target)
x_train, x_test, y_train, y_test = train_test_split(xs, ys, test_size=500, random_state=77)


def mlp(width):
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def hard_loss(net, x, y):
    return F.cross_entropy(net(x), y)


def distillation_loss(student, teacher, x, y):
    with torch.no_grad():
        teacher_probs = F.softmax(teacher(x) / T, dim=1)
    logits = student(x)
    student_probs = F.softmax(logits / T, dim=1)  # <-- here
    soft = F.kl_div(student_probs, teacher_probs, reduction="batchmean") * T * T  # <-- here
    return ALPHA * F.cross_entropy(logits, y) + (1 - ALPHA) * soft


def optimise(net, loss_of, epochs, name):
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for epoch in range(epochs):
        net.train()
        for ids in torch.randperm(len(x_train)).split(32):
            opt.zero_grad()
            loss = loss_of(x_train[ids], y_train[ids])
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            acc = (net(x_test).argmax(1) == y_test).float().mean()
        print(f"{name} epoch {epoch}: loss {loss:.4f}, test accuracy {acc:.4f}")


teacher = mlp(128)
optimise(teacher, lambda x, y: hard_loss(teacher, x, y), 6, "teacher")
teacher.eval()
for p in teacher.parameters():
    p.requires_grad_(False)

student = mlp(16)
optimise(student, lambda x, y: distillation_loss(student, teacher, x, y), 6, "student")
