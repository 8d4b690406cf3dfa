import random
import string

import torch
import torch.nn as nn

random.seed(0)
torch.manual_seed(0)

LETTERS = string.ascii_lowercase
LENGTH = 8
ENDINGS = {"italian": ["ini", "eli", "ano"], "polish": ["ski", "wic", "czy"], "finnish": ["nen", "aan", "lla"]}
CATEGORIES = list(ENDINGS)


def random_name():
    c = random.randrange(len(CATEGORIES))
    stem = "".join(random.choice("bdfgklmnprst") + random.choice("aeiou") for _ in range(3))[:LENGTH - 3]
    return stem + random.choice(ENDINGS[CATEGORIES[c]]), c


def random_batch(size, avoid=()):
    pairs = []
    while len(pairs) < size:
        name, c = random_name()
        if name not in avoid:
            pairs.append((name, c))
    names, cats = zip(*pairs)
    x = torch.zeros(LENGTH, size, len(LETTERS))
    for j, name in enumerate(names):
        for t, ch in enumerate(name):
            x[t, j, LETTERS.index(ch)] = 1
    return x, torch.tensor(cats), names


class RNN(nn.Module):
    def __init__(self, input_size, hidden_size, output_size):
        super().__init__()
        self.hidden_size = hidden_size
        self.i2h = nn.Linear(input_size + hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, output_size)

    def forward(self, letter, hidden):
        hidden = torch.tanh(self.i2h(torch.cat((letter, hidden), 1)))
        return torch.log_softmax(self.h2o(hidden), dim=1), hidden

    def init_hidden(self, size):
        return torch.zeros(size, self.hidden_size)


BATCH = 32
rnn = RNN(len(LETTERS), 24, len(CATEGORIES))
criterion = nn.NLLLoss()
learning_rate = 0.2
seen = set()

hidden = rnn.init_hidden(BATCH)  # <-- here
for it in range(1, 101):
    letters, cats, names = random_batch(BATCH)
    seen.update(names)
    for letter in letters:
        output, hidden = rnn(letter, hidden)  # <-- here
    loss = criterion(output, cats)
    rnn.zero_grad()
    loss.backward(retain_graph=True)  # <-- here
    for p in rnn.parameters():
        p.data.add_(p.grad.data, alpha=-learning_rate)
    if it % 20 == 0:
        print("iteration %d loss %.4f" % (it, loss.item()))

with torch.no_grad():
    letters, cats, names = random_batch(500, avoid=seen)
    h = rnn.init_hidden(500)
    for letter in letters:
        output, h = rnn(letter, h)
    print("accuracy on new names: %.3f" % (output.argmax(1) == cats).float().mean().item())
