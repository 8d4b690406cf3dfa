import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import Parameter

rng = np.random.default_rng(17)
torch.manual_seed(17)

n_nodes, n_groups, n_words = 600, 4, 50
groups = rng.integers(n_groups, size=n_nodes)
same = groups[:, None] == groups[None, :]
upper = np.triu(rng.random((n_nodes, n_nodes)) < np.where(same, 0.03, 0.006), 1)
adj = (upper | upper.T).astype(np.float32) + np.eye(n_nodes, dtype=np.float32)
deg = adj.sum(1)
adj = torch.from_numpy(adj / np.sqrt(deg[:, None] * deg[None, :]))

topics = rng.normal(size=(n_groups, n_words))
features = torch.from_numpy((0.35 * topics[groups] + rng.normal(size=(n_nodes, n_words))).astype(np.float32))
labels = torch.from_numpy(groups)

shuffled = rng.permutation(n_nodes)
idx_train, idx_val, idx_test = (torch.from_numpy(part) for part in np.split(shuffled, [160, 300]))


class GraphConvolution(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = Parameter(torch.empty(n_in, n_out))
        self.bias = Parameter(torch.zeros(n_out))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        return adj @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, n_feat, n_hid, n_class, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(n_feat, n_hid)
        self.gc2 = GraphConvolution(n_hid, n_class)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        x = self.gc2(x, adj)
        return F.log_softmax(x, dim=0)  # <-- here


def accuracy(output, idx):
    return (output[idx].argmax(1) == labels[idx]).double().mean().item()


model = GCN(n_words, 16, n_groups, dropout=0.4)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

for epoch in range(120):
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[idx_train], labels[idx_train])  # <-- here
    loss_train.backward()
    optimizer.step()
    if (epoch + 1) % 20 == 0:
        model.eval()
        with torch.no_grad():
            output = model(features, adj)
        print(f"Epoch {epoch + 1:04d} loss_train {loss_train.item():.4f} acc_val {accuracy(output, idx_val):.4f}")

model.eval()
with torch.no_grad():
    print("Test set accuracy", accuracy(model(features, adj), idx_test))
