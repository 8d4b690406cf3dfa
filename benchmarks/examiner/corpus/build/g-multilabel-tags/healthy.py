import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_multilabel_classification

N_TAGS = 6

X, Y = make_multilabel_classification(n_samples=2400, n_features=40, n_classes=N_TAGS, n_labels=2, length=60, random_state=5)
X = torch.as_tensor(X, dtype=torch.float32)
Y = torch.as_tensor(Y, dtype=torch.float32)
train_X, train_Y, test_X, test_Y = X[:1900], Y[:1900], X[1900:], Y[1900:]
mean, std = train_X.mean(0), train_X.std(0)
train_X, test_X = (train_X - mean) / std, (test_X - mean) / std


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(40, 64), nn.LeakyReLU(0.1), nn.Dropout(0.3))
        self.tags = nn.Linear(64, N_TAGS)

    def forward(self, x):
        return self.tags(self.body(x))

    @torch.no_grad()
    def predict(self, x, threshold=0.5):
        self.eval()
        out = torch.sigmoid(self(x)) > threshold
        self.train()
        return out.float()


def micro_f1(pred, true):
    tp = (pred * true).sum()
    return (2 * tp / (pred.sum() + true.sum())).item()


def batches(n, size):
    p = torch.randperm(n)
    for s in range(0, n, size):
        yield p[s:s + size]


tagger = Tagger()
optim = torch.optim.Adam(tagger.parameters(), lr=3e-3)
print("micro-F1 of tagging everything:", micro_f1(torch.ones_like(test_Y), test_Y))
for epoch in range(6):
    tot = 0
    for b in batches(len(train_X), 50):
        logits = tagger(train_X[b])
        loss = F.binary_cross_entropy_with_logits(logits, train_Y[b])
        optim.zero_grad()
        loss.backward()
        optim.step()
        tot += loss.item() * len(b)
    print("epoch %d loss %.4f micro-F1 %.4f" % (epoch, tot / len(train_X), micro_f1(tagger.predict(test_X), test_Y)))
