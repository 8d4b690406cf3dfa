import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RATE, CLIP, FRAME, HOP = 2000, 1024, 128, 64
INSTRUMENTS = ["flute", "bell", "saw", "chirp"]


def tone(kind, rng):
    n = int(rng.integers(600, CLIP - 100))
    t = np.arange(n) / RATE
    f = rng.uniform(120, 260)
    if kind == 0:
        wave = np.sin(2 * np.pi * f * t)
    elif kind == 1:
        wave = np.sin(2 * np.pi * f * t) * np.exp(-6 * t) + 0.6 * np.sin(2 * np.pi * 2.76 * f * t) * np.exp(-9 * t)
    elif kind == 2:
        wave = 2 * ((f * t) % 1.0) - 1
    else:
        wave = np.sin(2 * np.pi * (f * t + 400 * t ** 2))
    return wave + rng.normal(scale=0.2, size=n)


def pad_clip(wave):
    return np.pad(wave, (0, CLIP - len(wave)))


def spectrogram(wave):
    starts = range(0, CLIP - FRAME + 1, HOP)
    frames = np.stack([wave[s:s + FRAME] * np.hanning(FRAME) for s in starts], axis=1)
    power = np.abs(np.fft.rfft(frames, axis=0)) ** 2
    return np.log10(power + 1e-3)


def build(n, seed):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, len(INSTRUMENTS), size=n)
    with np.errstate(divide="ignore"):
        specs = np.stack([spectrogram(pad_clip(tone(k, rng))) for k in kinds])
    return specs[:, None].astype(np.float32), kinds


class SpecCNN(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d((4, 2)))
        self.classifier = nn.Linear(16 * 8, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def epoch_pass(net, loader, loss_fn, opt=None):
    net.train(opt is not None)
    tot, hit, n = 0.0, 0, 0
    for x, y in loader:
        with torch.set_grad_enabled(opt is not None):
            out = net(x)
            loss = loss_fn(out, y)
        if opt is not None:
            opt.zero_grad()
            loss.backward()
            opt.step()
        tot += loss.item() * len(y)
        hit += (out.argmax(1) == y).sum().item()
        n += len(y)
    return tot / n, hit / n


def main():
    torch.manual_seed(14)
    (xa, ya), (xb, yb) = build(600, 0), build(200, 1)
    mean, std = xa.mean(), xa.std()
    pack = lambda x, y: TensorDataset(torch.from_numpy((x - mean) / std), torch.from_numpy(y))
    train_dl = DataLoader(pack(xa, ya), batch_size=30, shuffle=True)
    test_dl = DataLoader(pack(xb, yb), batch_size=100)
    net = SpecCNN(len(INSTRUMENTS))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    for e in range(6):
        print(e, "train loss/acc", epoch_pass(net, train_dl, loss_fn, opt), "test", epoch_pass(net, test_dl, loss_fn))


main()
