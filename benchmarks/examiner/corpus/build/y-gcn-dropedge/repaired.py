"""Semi-supervised node classification, dense GCN + DropEdge."""
import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def block_model(n_per, k, p_in, p_out, n_feat, gen):
    n = n_per * k
    label = torch.arange(k).repeat_interleave(n_per)
    prob = torch.where(label[:, None] == label[None, :], p_in, p_out)
    upper = torch.triu((torch.rand(n, n, generator=gen) < prob).float(), diagonal=1)
    centres = torch.randn(k, n_feat, generator=gen)
    feats = 0.5 * centres[label] + torch.randn(n, n_feat, generator=gen)
    return upper + upper.T, feats, label


class DropEdge(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, adj):
        if not self.training:
            return adj
        keep = torch.triu((torch.rand_like(adj) > self.p).float(), diagonal=1)
        return adj * (keep + keep.T)


class GraphConv(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, a_hat):
        return a_hat @ (x @ self.weight)


class GCN(nn.Module):
    def __init__(self, n_feat, n_hid, n_class, p_edge, p_drop):
        super().__init__()
        self.drop_edge = DropEdge(p_edge)
        self.gc1, self.gc2 = GraphConv(n_feat, n_hid), GraphConv(n_hid, n_class)
        self.p_drop = p_drop

    def propagation(self, adj):
        adj = self.drop_edge(adj)
        adj = adj + torch.eye(len(adj))
        scale = adj.sum(dim=1).pow(-0.5)
        return scale[:, None] * adj * scale[None, :]

    def forward(self, x, adj):
        a_hat = self.propagation(adj)
        h = F.relu(self.gc1(x, a_hat))
        h = F.dropout(h, self.p_drop, training=self.training)
        return self.gc2(h, a_hat)


def accuracy(logits, label, mask):
    return (logits[mask].argmax(1) == label[mask]).float().mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=24)
    ap.add_argument("--epochs", type=int, default=150)
    ap.add_argument("--lr", type=float, default=0.01)
    ap.add_argument("--drop-edge", type=float, default=0.3)
    args = ap.parse_args()

    gen = torch.Generator().manual_seed(13)
    torch.manual_seed(13)
    adj, x, label = block_model(70, 4, 0.08, 0.01, 12, gen)
    alive = adj.sum(1) > 0
    adj, x, label = adj[alive][:, alive], x[alive], label[alive]
    perm = torch.randperm(len(x), generator=gen)
    train, val, test = perm[:100], perm[100:150], perm[150:]
    print(f"{len(x)} nodes, {int(adj.sum()) // 2} edges, min degree {int(adj.sum(1).min())}")

    model = GCN(x.shape[1], args.hidden, 4, args.drop_edge, 0.3)
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr, weight_decay=5e-4)
    best_val, best_test = -math.inf, 0.0
    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x, adj)[train], label[train])
        loss.backward()
        optimizer.step()
        if (epoch + 1) % 10 == 0:
            model.eval()
            with torch.no_grad():
                logits = model(x, adj)
            v = accuracy(logits, label, val)
            if v > best_val:
                best_val, best_test = v, accuracy(logits, label, test)
            print(f"epoch {epoch + 1:3d} loss {loss.item():.4f} val {v:.3f}")
    print(f"test accuracy at best validation: {best_test:.3f}")


if __name__ == "__main__":
    main()
