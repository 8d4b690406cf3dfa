import os
import re
from collections import Counter
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
rng = np.random.default_rng(0)

with open(os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")) as f:
    words = re.findall(r"[a-z']+", f.read(400000).lower())
counts = Counter(words)
vocab = [w for w, c in counts.most_common(600)]
stoi = {w: i for i, w in enumerate(vocab)}
ids = np.array([stoi[w] for w in words if w in stoi])
freq = np.array([counts[w] for w in vocab], dtype=np.float64)
noise = torch.tensor(freq ** 0.75 / (freq ** 0.75).sum(), dtype=torch.float32)


def skipgrams(seq, window=3):
    c, o = [], []
    for d in range(1, window + 1):
        c += [seq[:-d], seq[d:]]
        o += [seq[d:], seq[:-d]]
    return torch.from_numpy(np.concatenate(c)), torch.from_numpy(np.concatenate(o))


cut = int(len(ids) * 0.9)
centre, context = skipgrams(ids[:cut])
h_centre, h_context = skipgrams(ids[cut:])
pick = rng.choice(len(h_centre), 4000, replace=False)
h_centre, h_context = h_centre[pick], h_context[pick]
h_neg = torch.multinomial(noise, 4000 * 5, replacement=True).view(4000, 5)


class SkipGram(nn.Module):
    def __init__(self, n, d):
        super().__init__()
        self.in_embed = nn.Embedding(n, d)
        self.out_embed = nn.Embedding(n, d)
        self.in_embed.weight.data.uniform_(-0.5, 0.5)
        self.out_embed.weight.data.zero_()

    def forward(self, c, pos, neg):
        v = self.in_embed(c)
        s_pos = (v * self.out_embed(pos)).sum(-1)
        s_neg = torch.bmm(self.out_embed(neg), v.unsqueeze(2)).squeeze(2)
        return -(F.logsigmoid(s_pos) + F.logsigmoid(-s_neg).sum(1)).mean()


model = SkipGram(len(vocab), 32)
opt = torch.optim.Adam(model.parameters(), lr=5e-3)
for step in range(1, 401):
    b = torch.randint(len(centre), (512,))
    neg = torch.multinomial(noise, 512 * 5, replacement=True).view(512, 5)
    loss = model(centre[b], context[b], neg)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step == 1 or step % 100 == 0:
        with torch.no_grad():
            print(step, "train %.4f" % loss.item(), "held-out %.4f" % model(h_centre, h_context, h_neg).item())

E_ = F.normalize(model.in_embed.weight.detach(), dim=1)
for w in ("thou", "king", "my"):
    near = (E_ @ E_[stoi[w]]).topk(5).indices[1:]
    print(w, "->", ", ".join(vocab[i] for i in near))
