import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

np.random.seed(42)
torch.manual_seed(42)

# stochastic block model with noisy node features
N, C, D = 300, 4, 16
y = np.random.randint(0, C, N)
prob = np.where(y[:, None] == y[None, :], 0.06, 0.01)
A = np.triu(np.random.rand(N, N) < prob, 1)
A = (A | A.T).astype(np.float32)
centres = np.random.randn(C, D)
feats = (centres[y] * 0.5 + np.random.randn(N, D)).astype(np.float32)


def normalize_adj(adj):
    adj = adj + np.eye(len(adj), dtype=np.float32)
    d = adj.sum(1) ** -0.5
    return torch.from_numpy(adj * d[:, None] * d[None, :])


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x, adj):
        return adj @ (x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return self.gc2(x, adj)


adj = normalize_adj(A)
x = torch.from_numpy(feats)
labels = torch.from_numpy(y)
perm = torch.randperm(N)
idx_train, idx_val, idx_test = perm[:100], perm[100:180], perm[180:]

model = GCN(D, 32, C, dropout=0.5)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)

for epoch in range(150):
    model.train()
    optimizer.zero_grad()
    output = model(x, adj)
    loss_train = F.cross_entropy(output[idx_train], labels[idx_train])
    loss_train.backward()
    optimizer.step()

    if epoch % 30 == 29:
        model.eval()
        with torch.no_grad():
            output = model(x, adj)
        acc_val = (output[idx_val].argmax(1) == labels[idx_val]).float().mean()
        print('Epoch: {:04d}'.format(epoch + 1), 'loss_train: {:.4f}'.format(loss_train.item()), 'acc_val: {:.4f}'.format(acc_val.item()))

model.eval()
with torch.no_grad():
    test_acc = (model(x, adj)[idx_test].argmax(1) == labels[idx_test]).float().mean()
print("Test set accuracy {:.4f}".format(test_acc.item()))
