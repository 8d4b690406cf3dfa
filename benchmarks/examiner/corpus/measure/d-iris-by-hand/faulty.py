import torch
from sklearn.datasets import load_iris

torch.manual_seed(4)

iris = load_iris()
x = torch.tensor(iris.data, dtype=torch.float32)
y = torch.tensor(iris.target)
perm = torch.randperm(len(x))
train, test = perm[:105], perm[105:]
mu, sd = x[train].mean(0), x[train].std(0)
x = (x - mu) / sd

w1 = (torch.randn(4, 16) * 0.4).requires_grad_()
b1 = torch.zeros(16, requires_grad=True)
w2 = (torch.randn(16, 3) * 0.2).requires_grad_()
b2 = torch.zeros(3, requires_grad=True)
params = [w1, b1, w2, b2]


def predict(inputs):
    return torch.tanh(inputs @ w1 + b1) @ w2 + b2


lr = 0.05
for epoch in range(20):
    total = 0.0
    order = train[torch.randperm(len(train))]
    for batch in order.split(15):
        loss = torch.nn.functional.cross_entropy(predict(x[batch]), y[batch])
        loss.backward()
        with torch.no_grad():
            for p in params:
                p += lr * p.grad  # <-- here
                p.grad = None
        total += loss.item() * len(batch)
    if epoch % 4 == 3:
        with torch.no_grad():
            acc = (predict(x[test]).argmax(1) == y[test]).float().mean().item()
        print("epoch %2d   loss %.4f   test acc %.3f" % (epoch + 1, total / len(train), acc))
