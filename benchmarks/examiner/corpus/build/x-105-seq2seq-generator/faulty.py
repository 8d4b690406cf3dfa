import random

import torch
import torch.nn as nn
from torch.nn import functional as F

PAD, BOS, EOS = 0, 1, 2
N_SYM = 14
VOCAB = 3 + N_SYM


class Batch:
    "Object for holding a batch of data with mask during training."

    def __init__(self, pairs):
        src = [torch.tensor(s) for s, _ in pairs]
        trg = [torch.tensor([BOS] + t + [EOS]) for _, t in pairs]
        self.src = nn.utils.rnn.pad_sequence(src, batch_first=True, padding_value=PAD)
        trg = nn.utils.rnn.pad_sequence(trg, batch_first=True, padding_value=PAD)
        self.src_mask = self.src.ne(PAD)
        self.trg_in, self.trg_out = trg[:, :-1], trg[:, 1:]
        self.ntokens = int(self.trg_out.ne(PAD).sum())


class Encoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.rnn = nn.GRU(d, d // 2, bidirectional=True, batch_first=True)

    def forward(self, src):
        return self.rnn(self.emb(src))[0]


class Decoder(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.rnn = nn.GRU(d, d, batch_first=True)
        self.query = nn.Linear(d, d, bias=False)

    def forward(self, memory, src_mask, trg, hidden=None):
        h, hidden = self.rnn(self.emb(trg), hidden)
        energy = torch.einsum("btd,bsd->bts", self.query(h), memory) * memory.size(-1) ** -0.5
        alpha = F.softmax(energy.masked_fill(~src_mask[:, None], float("-inf")), dim=-1)
        return torch.tanh(torch.cat([h, alpha @ memory], -1)), hidden


class Generator(nn.Module):
    "Define standard linear + softmax generation step."

    def __init__(self, d, vocab):
        super().__init__()
        self.proj = nn.Linear(d, vocab)

    def forward(self, x):
        return self.proj(x)  # <-- here


class EncoderDecoder(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.encoder, self.decoder = Encoder(d), Decoder(d)
        self.generator = Generator(2 * d, VOCAB)

    def forward(self, batch):
        memory = self.encoder(batch.src)
        return self.decoder(memory, batch.src_mask, batch.trg_in)[0]

    @torch.no_grad()
    def greedy(self, batch, max_len):
        memory, hidden = self.encoder(batch.src), None
        tok = torch.full((len(batch.src), 1), BOS)
        out = []
        for _ in range(max_len):
            feat, hidden = self.decoder(memory, batch.src_mask, tok, hidden)
            tok = self.generator(feat).argmax(-1)
            out.append(tok)
        return torch.cat(out, 1)


class LossCompute:
    "A simple loss compute and train function."

    def __init__(self, generator, criterion, opt=None):
        self.generator, self.criterion, self.opt = generator, criterion, opt

    def __call__(self, x, y, norm):
        x = self.generator(x)
        loss = self.criterion(x.contiguous().view(-1, x.size(-1)), y.contiguous().view(-1))  # <-- here
        if self.opt is not None:
            self.opt.zero_grad()
            (loss / norm).backward()
            self.opt.step()
        return loss.item()


def synth_pairs(n, rng):
    "Substitution cipher whose key alternates with the position's parity."
    seen, out = set(), []
    while len(out) < n:
        s = tuple(rng.randrange(3, VOCAB) for _ in range(rng.randint(6, 10)))
        if s in seen:
            continue
        seen.add(s)
        out.append((list(s), [3 + (c - 3 + (5 if i % 2 else 2)) % N_SYM for i, c in enumerate(s)]))
    return out


def run_epoch(batches, model, loss_compute):
    tokens, total = 0, 0.0
    for b in batches:
        total += loss_compute(model(b), b.trg_out, b.ntokens)
        tokens += b.ntokens
    return total / tokens, tokens


def accuracy(model, batches):
    right = n = 0
    for b in batches:
        guess = model.greedy(b, b.trg_out.size(1))
        keep = b.trg_out.ne(PAD)
        right += (guess.eq(b.trg_out) & keep).sum().item()
        n += keep.sum().item()
    return right / n


def chunks(pairs, size):
    return [Batch(pairs[i:i + size]) for i in range(0, len(pairs), size)]


def main():
    torch.manual_seed(17)
    rng = random.Random(17)
    pairs = synth_pairs(2300, rng)
    train, valid = pairs[:2000], pairs[2000:]
    model = EncoderDecoder()
    criterion = nn.NLLLoss(ignore_index=PAD, reduction="sum")
    opt = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    valid_batches = chunks(valid, 100)
    for epoch in range(6):
        model.train()
        rng.shuffle(train)
        tl, _ = run_epoch(chunks(train, 40), model, LossCompute(model.generator, criterion, opt))
        model.eval()
        with torch.no_grad():
            vl, ntok = run_epoch(valid_batches, model, LossCompute(model.generator, criterion))
        print(f"Epoch {epoch}  train/token {tl:.4f}  valid/token {vl:.4f}  greedy acc {accuracy(model, valid_batches):.3f}  ({ntok} tokens)")


if __name__ == "__main__":
    main()
