import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits

torch.manual_seed(5)
data = load_digits()
pixels = torch.as_tensor(data.data, dtype=torch.float32) / 16
target = torch.as_tensor(data.target)
shuffled = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
train_idx, test_idx = shuffled[:1300], shuffled[1300:]

encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 24), nn.Tanh())
decoder = nn.Linear(24, 64)


def pretrain(epochs):
    opt = torch.optim.Adam(list(encoder.parameters()) + list(decoder.parameters()), lr=2e-3)
    for epoch in range(epochs):
        for idx in train_idx[torch.randperm(len(train_idx))].split(50):
            x = pixels[idx]
            loss = F.mse_loss(decoder(encoder(x)), x)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"pretrain {epoch}: reconstruction {loss.item():.4f}")


def probe(epochs):
    for p in encoder.parameters():
        p.requires_grad_(False)
    encoder.eval()
    classifier = nn.Linear(24, 10)
    opt = torch.optim.Adam(classifier.parameters(), lr=1e-2)
    for epoch in range(epochs):
        for idx in train_idx[torch.randperm(len(train_idx))].split(50):
            logits = classifier(encoder(pixels[idx]))
            loss = F.cross_entropy(logits, target[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        with torch.no_grad():
            pred = classifier(encoder(pixels[test_idx])).argmax(1)
        acc = (pred == target[test_idx]).float().mean().item()
        print(f"probe {epoch}: loss {loss.item():.4f}  test accuracy {acc:.3f}")


pretrain(5)
probe(6)
