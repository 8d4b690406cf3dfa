from typing import Tuple

import torch
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

N_CLASSES = 3


def make_patients(seed: int = 0) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y = make_classification(n_samples=3000, n_features=10, n_informative=6, n_redundant=0,
                               n_classes=N_CLASSES, weights=[0.5, 0.3, 0.2], class_sep=1.3,
                               flip_y=0.01, random_state=seed)
    x_tr, x_te, y_tr, y_te = train_test_split(x, y, test_size=0.25, stratify=y, random_state=seed)
    mu, sigma = x_tr.mean(0), x_tr.std(0)
    to = lambda a: torch.tensor((a - mu) / sigma, dtype=torch.float32)
    return to(x_tr), torch.tensor(y_tr), to(x_te), torch.tensor(y_te)


def balanced_weights(labels: Tensor) -> Tensor:
    counts = torch.bincount(labels, minlength=N_CLASSES)
    weights = len(labels) / (N_CLASSES * counts)
    return weights.float()


def recall_per_class(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    net.eval()
    with torch.no_grad():
        guess = net(x).argmax(dim=1)
    hits = torch.bincount(y[guess == y], minlength=N_CLASSES)
    return hits / torch.bincount(y, minlength=N_CLASSES)


def main() -> None:
    torch.manual_seed(0)
    x_tr, y_tr, x_te, y_te = make_patients(seed=5)
    net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, N_CLASSES))
    criterion = nn.CrossEntropyLoss(weight=balanced_weights(y_tr))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    print("class counts", torch.bincount(y_tr).tolist())
    for epoch in range(6):
        net.train()
        for rows in torch.randperm(len(x_tr)).split(50):
            optimizer.zero_grad()
            loss = criterion(net(x_tr[rows]), y_tr[rows])
            loss.backward()
            optimizer.step()
        recall = recall_per_class(net, x_te, y_te)
        print("epoch", epoch, "recall per class", [round(r, 3) for r in recall.tolist()],
              "mean", round(recall.mean().item(), 3))


if __name__ == "__main__":
    main()
