import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence

torch.manual_seed(8)
PAD, VOCAB, TAGS = 0, 24, 4


def sample_sentence():
    """Tag of a token: its group (mod 3), or 3 when it ranks below the first token of the sentence."""
    n = int(torch.randint(5, 13, ()))
    toks = torch.randint(1, VOCAB, (n,))
    tags = [t % 3 if t >= toks[0] else 3 for t in toks.tolist()]
    return toks, torch.tensor(tags)


class Tagger(nn.Module):
    def __init__(self, d=32, heads=4, max_len=16):
        super().__init__()
        self.tok = nn.Embedding(VOCAB, d, padding_idx=PAD)
        self.pos = nn.Parameter(torch.randn(max_len, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, heads, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.cls = nn.Linear(d, TAGS)

    def forward(self, ids):
        mask = ids.eq(PAD)
        h = self.tok(ids) + self.pos[: ids.size(1)]
        return self.cls(self.encoder(h, src_key_padding_mask=mask))


def batches(data, size, shuffle):
    order = torch.randperm(len(data)).tolist() if shuffle else range(len(data))
    order = list(order)
    for k in range(0, len(order), size):
        xs, ys = zip(*(data[j] for j in order[k:k + size]))
        yield pad_sequence(xs, True, PAD), pad_sequence(ys, True, -100)


pool, known = [], set()
while len(pool) < 1600:
    toks, tags = sample_sentence()
    key = tuple(toks.tolist())
    if key not in known:
        known.add(key)
        pool.append((toks, tags))
train_data, test_data = pool[:1300], pool[1300:]

model = Tagger()
criterion = nn.CrossEntropyLoss(ignore_index=-100)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)

for epoch in range(5):
    model.train()
    for x, y in batches(train_data, 50, True):
        optimizer.zero_grad()
        logits = model(x)
        loss = criterion(logits.transpose(1, 2), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()
    good = total = 0
    with torch.no_grad():
        for x, y in batches(test_data, 100, False):
            real = y != -100
            good += (model(x).argmax(-1)[real] == y[real]).sum().item()
            total += real.sum().item()
    print(f"epoch {epoch} loss {loss.item():.3f} token accuracy {good / total:.3f}")
