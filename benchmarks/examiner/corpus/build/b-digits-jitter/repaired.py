import numpy as np
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, Dataset
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

settings = {"seed": 5, "epochs": 6, "batch": 32, "lr": 2e-3, "noise": 0.15}


class JitteredDigits(Dataset):
    def __init__(self, images, target, noise=0.0, seed=0):
        self.images = images.astype(np.float32) / 16.0
        self.target = target
        self.noise = noise
        self.rng = np.random.RandomState(seed)

    def __len__(self):
        return len(self.target)

    def __getitem__(self, i):
        img = self.images[i]
        if self.noise > 0:
            rng = self.rng
            shift = rng.randint(-1, 2)
            img = np.roll(img, shift, axis=1) + rng.normal(0, self.noise, img.shape)
        return torch.as_tensor(img, dtype=torch.float32)[None], int(self.target[i])


digits = load_digits()
tr_x, te_x, tr_y, te_y = train_test_split(digits.images, digits.target, test_size=360,
                                          stratify=digits.target, random_state=settings["seed"])
torch.manual_seed(settings["seed"])
train_loader = DataLoader(JitteredDigits(tr_x, tr_y, settings["noise"], settings["seed"]),
                          batch_size=settings["batch"], shuffle=True)
test_loader = DataLoader(JitteredDigits(te_x, te_y), batch_size=120)

encoder = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
classifier = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
model = nn.Sequential(encoder, classifier)
opt = optim.Adam(model.parameters(), lr=settings["lr"])
ce = nn.CrossEntropyLoss()

for epoch in range(settings["epochs"]):
    model.train()
    seen = total = 0
    for img, label in train_loader:
        opt.zero_grad()
        loss = ce(model(img), label)
        loss.backward()
        opt.step()
        total += loss.item() * len(label)
        seen += len(label)
    model.eval()
    ok = 0
    with torch.no_grad():
        for img, label in test_loader:
            ok += (model(img).argmax(1) == label).sum().item()
    print(f"epoch {epoch}: train {total / seen:.4f}  test accuracy {ok / len(te_y):.4f}")
