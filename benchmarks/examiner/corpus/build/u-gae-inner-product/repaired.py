import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import average_precision_score, roc_auc_score

torch.manual_seed(17)
rng = np.random.default_rng(17)


def block_graph(sizes=(40, 40, 40), p_in=0.22, p_out=0.015):
    block = np.repeat(np.arange(len(sizes)), sizes)
    n = len(block)
    prob = np.where(block[:, None] == block[None, :], p_in, p_out)
    upper = np.triu(rng.random((n, n)) < prob, k=1)
    centres = rng.normal(size=(len(sizes), 12))
    feats = centres[block] * 0.7 + rng.normal(size=(n, 12))
    return upper, feats.astype(np.float32)


def split_edges(upper, frac=0.15):
    pos = np.argwhere(upper)
    n = upper.shape[0]
    iu = np.triu_indices(n, k=1)
    neg = np.stack(iu, 1)[~upper[iu]]
    rng.shuffle(pos)
    rng.shuffle(neg)
    k = int(frac * len(pos))
    return pos[k:], pos[:k], neg[k:], neg[:k]


class GraphConv(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.lin = nn.Linear(d_in, d_out)

    def forward(self, x, a_hat):
        return a_hat @ self.lin(x)


class Encoder(nn.Module):
    def __init__(self, d_in, d_hid, d_lat):
        super().__init__()
        self.gc1 = GraphConv(d_in, d_hid)
        self.gc2 = GraphConv(d_hid, d_lat)

    def forward(self, x, a_hat):
        return self.gc2(F.relu(self.gc1(x, a_hat)), a_hat)


class InnerProductDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, z, pairs, sigmoid=True):
        value = (z[pairs[:, 0]] * z[pairs[:, 1]]).sum(dim=1) + self.offset
        return torch.sigmoid(value) if sigmoid else value


class GAE(nn.Module):
    def __init__(self, d_in):
        super().__init__()
        self.encoder = Encoder(d_in, 32, 12)
        self.decoder = InnerProductDecoder()

    def recon_loss(self, z, pos, neg):
        pairs = torch.cat([pos, neg])
        truth = torch.cat([torch.ones(len(pos)), torch.zeros(len(neg))])
        return F.binary_cross_entropy_with_logits(self.decoder(z, pairs, sigmoid=False), truth)


upper, feats = block_graph()
tr_pos, te_pos, tr_neg, te_neg = split_edges(upper)
n = len(feats)
adj = torch.eye(n)
adj[tr_pos[:, 0], tr_pos[:, 1]] = 1.0
adj[tr_pos[:, 1], tr_pos[:, 0]] = 1.0
d = adj.sum(1).rsqrt()
a_hat = d[:, None] * adj * d[None, :]
x = torch.from_numpy((feats - feats.mean(0)) / feats.std(0))
tr_pos, te_pos, tr_neg, te_neg = (torch.from_numpy(e) for e in (tr_pos, te_pos, tr_neg, te_neg))

gae = GAE(x.shape[1])
opt = torch.optim.Adam(gae.parameters(), lr=0.01)


@torch.no_grad()
def link_scores():
    gae.eval()
    z = gae.encoder(x, a_hat)
    neg = te_neg[: len(te_pos)]
    prob = gae.decoder(z, torch.cat([te_pos, neg])).numpy()
    truth = np.r_[np.ones(len(te_pos)), np.zeros(len(neg))]
    brier = float(((prob - truth) ** 2).mean())
    return roc_auc_score(truth, prob), average_precision_score(truth, prob), brier


for it in range(1, 161):
    gae.train()
    opt.zero_grad()
    z = gae.encoder(x, a_hat)
    neg = tr_neg[torch.randperm(len(tr_neg))[: len(tr_pos)]]
    loss = gae.recon_loss(z, tr_pos, neg)
    loss.backward()
    opt.step()
    if it % 40 == 0 or it == 1:
        auc, ap, brier = link_scores()
        print(f"it {it:03d} loss {loss.item():.4f} | held-out AUC {auc:.3f} AP {ap:.3f} brier {brier:.3f}")
