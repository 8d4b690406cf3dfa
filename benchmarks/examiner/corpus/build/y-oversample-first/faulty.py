"""Transaction fraud: rare class, random oversampling, MLP with batch norm."""
import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

config = dict(n=2600, batch=64, epochs=5, lr=1.5e-3, hidden=48, seed=7)


def transactions(n, seed):
    x, y = make_classification(
        n_samples=n, n_features=16, n_informative=8, n_redundant=4, weights=[0.88],
        class_sep=1.3, flip_y=0.01, random_state=seed,
    )
    return x.astype(np.float32), y.astype(np.int64)


def oversample(x, y, seed):
    """Draw the rare class with replacement until both are equally frequent."""
    rng = np.random.default_rng(seed)
    counts = np.bincount(y)
    rare = int(counts.argmin())
    pool = np.flatnonzero(y == rare)
    extra = rng.choice(pool, size=counts.max() - counts.min(), replace=True)
    keep = np.concatenate([np.arange(len(y)), extra])
    rng.shuffle(keep)
    return x[keep], y[keep]


def prepare(cfg):
    x, y = transactions(cfg["n"], cfg["seed"])
    x, y = oversample(x, y, cfg["seed"])  # <-- here
    x_tr, x_te, y_tr, y_te = train_test_split(  # <-- here
        x, y, test_size=0.25, stratify=y, random_state=cfg["seed"]
    )
    scaler = StandardScaler().fit(x_tr)
    pack = lambda a, b: TensorDataset(torch.from_numpy(scaler.transform(a).astype(np.float32)), torch.from_numpy(b))
    train = DataLoader(pack(x_tr, y_tr), batch_size=cfg["batch"], shuffle=True, drop_last=True)
    test = DataLoader(pack(x_te, y_te), batch_size=256)
    return train, test


def build(hidden, n_in=16):
    layers = []
    for a, b in ((n_in, hidden), (hidden, hidden)):
        layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
    layers.append(nn.Linear(hidden, 2))
    return nn.Sequential(*layers)


def train_epoch(model, loader, criterion, optimizer):
    model.train()
    total = 0.0
    for features, target in loader:
        optimizer.zero_grad()
        loss = criterion(model(features), target)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


@torch.no_grad()
def predict(model, loader):
    model.eval()
    truth, guess = [], []
    for features, target in loader:
        guess.append(model(features).argmax(1))  # <-- here
        truth.append(target)
    return torch.cat(truth).numpy(), torch.cat(guess).numpy()


def main():
    torch.manual_seed(config["seed"])
    train, test = prepare(config)
    model = build(config["hidden"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    criterion = nn.CrossEntropyLoss()
    best = 0.0
    for epoch in range(config["epochs"]):
        loss = train_epoch(model, train, criterion, optimizer)
        truth, guess = predict(model, test)
        score = balanced_accuracy_score(truth, guess)
        best = max(best, score)
        print(f"epoch {epoch + 1}/{config['epochs']} loss={loss:.4f} "
              f"balanced accuracy={score:.4f} recall={recall_score(truth, guess):.4f}")
    print(f"best balanced accuracy {best:.4f}")


if __name__ == "__main__":
    main()
