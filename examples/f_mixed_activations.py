"""(f) MNIST with 784-128-64-10 and another activation at each layer: ReLU, Leaky ReLU, log-softmax.

Any nn.Module can be trained: no base class, no wrapper.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

import netwright as nw


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 128)
        self.second = nn.Linear(128, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, images):
        x = images.flatten(start_dim=1)
        x = functional.relu(self.first(x))
        x = functional.leaky_relu(self.second(x), negative_slope=0.01)
        return functional.log_softmax(self.output(x), dim=1)  # log-probabilities, which NLL wants


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    run = nw.fit(
        Mixed(),
        nw.load("mnist", validation=0, limit=args.limit, seed=args.seed),
        loss="nll",
        optimizer="adam",
        lr=1e-3,
        batch=64,
        epochs=args.epochs,
        seed=args.seed,
        recipe={"checkpoint.keep": "last"},
    )
    test = run.test()
    print(f"test accuracy {test['accuracy']:.2%}")
    for row in test["per_class"]:
        print(f"  digit {row['class']}: precision {row['precision']:.3f}, recall {row['recall']:.3f}")


if __name__ == "__main__":
    main()
