import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

random.seed(12)
torch.manual_seed(12)
PARTS = {
    0: ["ka", "to", "mi", "ra", "su", "no", "shi", "ko"],
    1: ["sson", "berg", "lund", "fri", "hol", "gus", "kvist", "ulf"],
    2: ["os", "papa", "dimi", "ako", "tri", "the", "opou", "los"],
}
letters = sorted(set("".join("".join(p) for p in PARTS.values())))
index = {c: i + 1 for i, c in enumerate(letters)}


def invent():
    label = random.randrange(3)
    name = "".join(random.choice(PARTS[label]) for _ in range(random.randint(2, 4)))
    chars = [c if random.random() > 0.08 else random.choice(letters) for c in name]
    return "".join(chars), label


names = {}
while len(names) < 1500:
    word, label = invent()
    names.setdefault(word, label)
items = [(torch.tensor([index[c] for c in w]), lab) for w, lab in names.items()]
random.shuffle(items)
train, test = items[:1200], items[1200:]


def collate(batch):
    seqs, labels = zip(*batch)
    lengths = torch.tensor([len(s) for s in seqs])
    return pad_sequence(seqs, batch_first=True), lengths, torch.tensor(labels)


class NameClassifier(nn.Module):
    def __init__(self, n_chars, emb=16, hidden=32, classes=3):
        super().__init__()
        self.embed = nn.Embedding(n_chars, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, classes)

    def forward(self, x, lengths):
        packed = pack_padded_sequence(self.embed(x), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.fc(torch.cat([h[0], h[1]], dim=1))


model = NameClassifier(len(letters) + 1)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
train_dl = DataLoader(train, batch_size=40, shuffle=True, collate_fn=collate)
test_dl = DataLoader(test, batch_size=100, collate_fn=collate)

for epoch in range(4):
    model.train()
    loss_sum = 0.0
    for x, lengths, y in train_dl:
        optimizer.zero_grad()
        loss = criterion(model(x, lengths), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        loss_sum += loss.item() * len(y)
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, lengths, y in test_dl:
            correct += (model(x, lengths).argmax(1) == y).sum().item()
    print(f"epoch {epoch}: train loss {loss_sum / len(train):.3f}, test accuracy {correct / len(test):.3f}")
