import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

PAD_TAG = -100
WORDS, TAGS = 60, 4


def make_sentence(gen):
    """The tag of a word depends on the word and on its left neighbour."""
    n = int(torch.randint(6, 15, (1,), generator=gen))
    words = torch.randint(1, WORDS, (n,), generator=gen)
    left = torch.cat([words.new_zeros(1), words[:-1]])
    return words, (words % 2) * 2 + (left % 2)


def collate(batch):
    words, tags = zip(*batch)
    lengths = torch.tensor([len(w) for w in words])
    return (
        pad_sequence(words, batch_first=True, padding_value=0),
        pad_sequence(tags, batch_first=True, padding_value=PAD_TAG),
        lengths,
    )


class Tagger(nn.Module):
    def __init__(self, dim=32, hidden=40, dropout=0.3):
        super().__init__()
        self.embed = nn.Embedding(WORDS, dim, padding_idx=0)
        self.drop = nn.Dropout(dropout)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True, bidirectional=True)
        self.tag = nn.Linear(2 * hidden, TAGS)

    def forward(self, words, lengths):
        x = self.drop(self.embed(words))
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.tag(self.drop(states))


class Trainer:
    def __init__(self, model, train, valid, lr=4e-3, epochs=5):
        self.model, self.train_data, self.valid_data = model, train, valid
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss(ignore_index=PAD_TAG)
        self.epochs = epochs
        self.callbacks = []

    def on_epoch_end(self, fn):
        self.callbacks.append(fn)
        return fn

    def fit(self):
        for epoch in range(self.epochs):
            self.model.train()
            last = 0.0
            for words, tags, lengths in self.train_data:
                logits = self.model(words, lengths)
                loss = self.criterion(logits.reshape(-1, TAGS), tags.reshape(-1))
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                last = loss.item()
            for fn in self.callbacks:
                fn(epoch, last, self.validate())

    def validate(self):
        self.model.eval()
        right = total = 0
        with torch.no_grad():
            for words, tags, lengths in self.valid_data:
                guess = self.model(words, lengths).argmax(-1)
                real = tags != PAD_TAG
                right += (guess[real] == tags[real]).sum().item()
                total += real.sum().item()
        return right / total


if __name__ == "__main__":
    torch.manual_seed(19)
    gen = torch.Generator().manual_seed(20)
    sentences = [make_sentence(gen) for _ in range(1200)]
    trainer = Trainer(
        Tagger(),
        DataLoader(sentences[:1000], batch_size=40, shuffle=True, collate_fn=collate),
        DataLoader(sentences[1000:], batch_size=100, collate_fn=collate),
    )

    @trainer.on_epoch_end
    def report(epoch, loss, acc):
        print(f"epoch {epoch} | loss {loss:.4f} | validation tag accuracy {acc:.4f}")

    trainer.fit()
