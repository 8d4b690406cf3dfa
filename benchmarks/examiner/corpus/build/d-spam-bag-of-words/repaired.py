import os
import random
import re
from collections import Counter

import torch
import torch.nn as nn


def read_messages():
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "sms-spam", "SMSSpamCollection")
    with open(path, encoding="utf-8") as fh:
        pairs = [line.rstrip("\n").split("\t", 1) for line in fh]
    spam = [t for lab, t in pairs if lab == "spam"]
    ham = [t for lab, t in pairs if lab == "ham"]
    random.Random(0).shuffle(ham)
    items = list(dict.fromkeys([(t, 1) for t in spam] + [(t, 0) for t in ham[:len(spam)]]))
    random.Random(1).shuffle(items)
    return items


def tokens(text):
    return re.findall(r"[a-z]+|\d+|[£!?]", text.lower())


def vectorise(items, vocab):
    x = torch.zeros(len(items), len(vocab))
    for row, (text, _) in enumerate(items):
        for tok in tokens(text):
            if tok in vocab:
                x[row, vocab[tok]] = 1.0
    return x, torch.tensor([lab for _, lab in items])


class Trainer:
    def __init__(self, net, lr=0.2, max_norm=1.0):
        self.net = net
        self.optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** 14)
        self.max_norm = max_norm
        self.criterion = nn.CrossEntropyLoss()

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = self.criterion(self.net(x), y)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def fit(self, x, y, epochs, batch_size=32):
        for epoch in range(epochs):
            self.net.train()
            losses = [self.step(x[i], y[i]) for i in torch.randperm(len(x)).split(batch_size)]
            yield epoch, sum(losses) / len(losses)

    @torch.no_grad()
    def accuracy(self, x, y):
        self.net.eval()
        return (self.net(x).argmax(1) == y).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(0)
    items = read_messages()
    train_items, test_items = items[:1000], items[1000:]
    counts = Counter(tok for text, _ in train_items for tok in set(tokens(text)))
    vocab = {tok: i for i, (tok, _) in enumerate(counts.most_common(400))}
    x_train, y_train = vectorise(train_items, vocab)
    x_test, y_test = vectorise(test_items, vocab)
    net = nn.Sequential(nn.Linear(len(vocab), 32), nn.ReLU(), nn.Linear(32, 2))
    trainer = Trainer(net)
    for epoch, loss in trainer.fit(x_train, y_train, epochs=5):
        print(f"epoch {epoch} loss {loss:.4f} test accuracy {trainer.accuracy(x_test, y_test):.3f}")
