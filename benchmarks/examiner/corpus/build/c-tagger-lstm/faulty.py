import random

import torch
import torch.nn as nn
import torch.optim as optim

random.seed(4)
torch.manual_seed(4)

NOUNS = "dog cat apple teacher river garden song book".split()
VERBS = "eats sees likes carries reads finds".split()
DETS = "the a this every".split()
ADJS = "small red old happy quiet".split()
TAGS = {"DET": 0, "ADJ": 1, "NN": 2, "V": 3}


def noun_phrase():
    words = [(random.choice(DETS), "DET")]
    words += [(random.choice(ADJS), "ADJ") for _ in range(random.randint(0, 2))]
    return words + [(random.choice(NOUNS), "NN")]


def sentence():
    return noun_phrase() + [(random.choice(VERBS), "V")] + noun_phrase()


sentences = [list(s) for s in {tuple(sentence()): None for _ in range(600)}][:500]
# "book" is also a verb after a noun: the tagger needs the context
for s in sentences:
    for i, (w, t) in enumerate(s):
        if t == "V" and random.random() < 0.2:
            s[i] = ("book", "V")
train_sentences, test_sentences = sentences[:400], sentences[400:]
vocab = {w: i for i, w in enumerate(NOUNS + VERBS + DETS + ADJS)}


def encode(s):
    return torch.tensor([vocab[w] for w, _ in s]), torch.tensor([TAGS[t] for _, t in s])


class LSTMTagger(nn.Module):
    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super(LSTMTagger, self).__init__()
        self.hidden_dim = hidden_dim
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)
        self.hidden = self.init_hidden()  # <-- here

    def init_hidden(self):
        return (torch.zeros(1, 1, self.hidden_dim), torch.zeros(1, 1, self.hidden_dim))

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        lstm_out, self.hidden = self.lstm(embeds.view(len(sentence), 1, -1), self.hidden)  # <-- here
        return self.hidden2tag(lstm_out.view(len(sentence), -1))


model = LSTMTagger(12, 16, len(vocab), len(TAGS))
loss_function = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=0.01)

for epoch in range(2):
    random.shuffle(train_sentences)
    total = 0.0
    for s in train_sentences:
        words, tags = encode(s)
        model.zero_grad()
        loss = loss_function(model(words), tags)  # <-- here
        loss.backward()  # <-- here
        optimizer.step()
        total += loss.item()
    right = count = 0
    with torch.no_grad():
        for s in test_sentences:
            words, tags = encode(s)
            model.hidden = model.init_hidden()
            right += (model(words).argmax(1) == tags).sum().item()
            count += len(tags)
    print("epoch", epoch, "mean loss", total / len(train_sentences), "test tags right", right / count)
