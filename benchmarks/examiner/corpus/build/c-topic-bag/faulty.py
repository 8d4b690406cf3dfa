import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

VOCAB, LENGTH, TOPICS = 300, 150, 5


def documents(rng, n, topic_words):
    topic = rng.integers(0, TOPICS, n)
    common = rng.integers(0, VOCAB, (n, LENGTH))
    special = topic_words[topic][np.arange(n)[:, None], rng.integers(0, topic_words.shape[1], (n, LENGTH))]
    use = rng.random((n, LENGTH)) < 0.12
    return torch.from_numpy(np.where(use, special, common)), torch.from_numpy(topic)


class TopicNet(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.words = nn.EmbeddingBag(VOCAB, dim, mode="sum")  # <-- here
        self.fc = nn.Linear(dim, TOPICS)

    def forward(self, ids):
        doc = torch.tanh(self.words(ids))  # <-- here
        return self.fc(doc)


def accuracy(net, loader):
    net.eval()
    good = n = 0
    with torch.no_grad():
        for ids, topic in loader:
            good += int((net(ids).argmax(1) == topic).sum())
            n += len(topic)
    return good / n


if __name__ == "__main__":
    rng = np.random.default_rng(3)
    torch.manual_seed(3)
    topic_words = rng.permutation(VOCAB)[: TOPICS * 20].reshape(TOPICS, 20)
    train = DataLoader(TensorDataset(*documents(rng, 2000, topic_words)), batch_size=40, shuffle=True)
    test = DataLoader(TensorDataset(*documents(rng, 500, topic_words)), batch_size=250)
    net = TopicNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(6):
        net.train()
        for ids, topic in train:
            loss = criterion(net(ids), topic)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print("epoch", epoch, "last loss %.3f" % loss.item(), "test accuracy %.3f" % accuracy(net, test))
