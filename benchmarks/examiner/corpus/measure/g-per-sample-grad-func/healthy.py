import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch.func import functional_call, grad_and_value, vmap

torch.manual_seed(0)
X, y = load_breast_cancer(return_X_y=True)
Xtr, Xte, ytr, yte = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
mu, sd = Xtr.mean(0), Xtr.std(0)
Xtr, Xte = (torch.tensor((a - mu) / sd, dtype=torch.float32) for a in (Xtr, Xte))
ytr, yte = torch.tensor(ytr), torch.tensor(yte)

net = nn.Sequential(nn.Linear(30, 24), nn.Tanh(), nn.Linear(24, 2))
params = {k: v.detach().clone() for k, v in net.named_parameters()}
buffers = {k: v.detach() for k, v in net.named_buffers()}


def compute_loss(params, buffers, sample, target):
    logits = functional_call(net, (params, buffers), (sample.unsqueeze(0),))
    return F.cross_entropy(logits, target.unsqueeze(0))


per_sample = vmap(grad_and_value(compute_loss), in_dims=(None, None, 0, 0))
clip, lr = 1.0, 0.3

for epoch in range(8):
    running = 0.0
    for idx in torch.randperm(len(Xtr)).split(32):
        grads, losses = per_sample(params, buffers, Xtr[idx], ytr[idx])
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()]).norm(dim=0)
        scale = (clip / (norms + 1e-6)).clamp(max=1.0)
        for k, g in grads.items():
            mean_grad = torch.einsum("n,n...->...", scale, g) / len(idx)
            params[k] = params[k] - lr * mean_grad
        running += losses.sum().item()
    with torch.no_grad():
        out = functional_call(net, (params, buffers), (Xte,))
        acc = (out.argmax(1) == yte).float().mean().item()
    print(f"epoch {epoch} train {running / len(Xtr):.4f} test acc {acc:.4f}")
