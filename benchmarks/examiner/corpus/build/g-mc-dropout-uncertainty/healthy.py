"""Monte Carlo dropout (Gal & Ghahramani 2016): predictive entropy on digits.

At prediction time the dropout layers are kept active on purpose and the class
probabilities of many stochastic passes are averaged.
"""
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(0)


class DropoutNet(nn.Module):
    def __init__(self, p=0.25):
        super().__init__()
        self.fc1 = nn.Linear(64, 100)
        self.drop1 = nn.Dropout(p)
        self.fc2 = nn.Linear(100, 50)
        self.drop2 = nn.Dropout(p)
        self.fc3 = nn.Linear(50, 10)

    def forward(self, x):
        x = self.drop1(torch.relu(self.fc1(x)))
        x = self.drop2(torch.relu(self.fc2(x)))
        return self.fc3(x)


def enable_mc_dropout(model):
    model.eval()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()


@torch.no_grad()
def mc_predict(model, x, passes=30):
    enable_mc_dropout(model)
    probs = torch.stack([torch.softmax(model(x), dim=-1) for _ in range(passes)]).mean(0)
    entropy = -(probs * probs.clamp_min(1e-12).log()).sum(-1)
    return probs, entropy


@torch.no_grad()
def plain_accuracy(model, x, y):
    model.eval()
    return (model(x).argmax(1) == y).float().mean().item()


d = load_digits()
Xtr, Xte, ytr, yte = train_test_split(d.data.astype("float32") / 16, d.target, test_size=0.25, random_state=0)
Xtr, Xte, ytr, yte = map(torch.from_numpy, (Xtr, Xte, ytr, yte))
net = DropoutNet()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
ce = nn.CrossEntropyLoss()

for epoch in range(8):
    net.train()
    for b in torch.randperm(len(Xtr)).split(32):
        opt.zero_grad()
        loss = ce(net(Xtr[b]), ytr[b])
        loss.backward()
        opt.step()
    print("epoch", epoch, "deterministic test accuracy %.4f" % plain_accuracy(net, Xte, yte))

probs, entropy = mc_predict(net, Xte)
wrong = probs.argmax(1) != yte
print("MC accuracy %.4f" % (~wrong).float().mean())
print("mean entropy: right %.3f, wrong %.3f" % (entropy[~wrong].mean(), entropy[wrong].mean()))
