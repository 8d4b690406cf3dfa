import os
import torch
import torch.nn.functional as F
from torch import nn, Tensor

MAX_LEN = 60
torch.manual_seed(99)


def read_lines(limit):
    path = os.path.join(os.environ["NETWRIGHT_DATA"], "tinyshakespeare", "input.txt")
    with open(path) as f:
        raw = f.read().split("\n")
    lines = [line for line in dict.fromkeys(raw) if 12 <= len(line) < 28]
    return lines[:limit]


lines = read_lines(2400)
perm = torch.randperm(len(lines)).tolist()
train_lines = [lines[i] for i in perm[:2000]]
valid_lines = [lines[i] for i in perm[2000:]]

alphabet = ["<pad>", "<s>", "</s>", "<unk>"] + sorted(set("".join(train_lines)))
index = {c: i for i, c in enumerate(alphabet)}


def to_ids(line: str) -> Tensor:
    ids = [1] + [index.get(c, 3) for c in line] + [2]
    return torch.tensor(ids + [0] * (MAX_LEN - len(ids)))


train = torch.stack([to_ids(l) for l in train_lines])
valid = torch.stack([to_ids(l) for l in valid_lines])


class VerseModel(nn.Module):
    def __init__(self, n, d=32, h=64):
        super().__init__()
        self.emb = nn.Embedding(n, d, padding_idx=0)
        self.rnn = nn.GRU(d, h, batch_first=True)
        self.out = nn.Linear(h, n)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.rnn(self.emb(ids))[0])


def sequence_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=0)


@torch.no_grad()
def bits_per_character(lm: nn.Module) -> float:
    lm.eval()
    logp = lm(valid[:, :-1]).log_softmax(-1)
    targets = valid[:, 1:]
    picked = logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return -(picked[targets > 0].mean() / torch.log(torch.tensor(2.0))).item()


lm = VerseModel(len(alphabet))
optimizer = torch.optim.Adam(lm.parameters(), lr=2e-3)
step = 0
for epoch in range(3):
    lm.train()
    for ids in torch.randperm(len(train)).split(40):
        batch = train[ids]
        loss = sequence_loss(lm(batch[:, :-1]), batch[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 25 == 0:
            print(f"step {step} loss {loss.item():.3f}")
    print(f"epoch {epoch}: {bits_per_character(lm):.3f} bits per real character on held-out lines")
