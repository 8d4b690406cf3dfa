"""(b) MNIST with 784-512-10, ReLU and SGD with momentum, showing the running loss every 100 batches.

`nw.train` yields a record after each step, so what happens between two steps is your own code.
"""

import argparse

import torch
from torch import nn

import netwright as nw

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def make_network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))


@torch.no_grad()
def accuracy(net, split):
    net.eval()
    correct = sum((net(x).argmax(1) == y).sum() for x, y in split.batches(1000))
    net.train()
    return float(correct) / len(split)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    data = nw.load("mnist", validation=0, mean=0.1307, std=0.3081, limit=args.limit, seed=args.seed)
    data = data.to(DEVICE)
    net = make_network().to(DEVICE)
    steps = nw.train(
        net,
        data.train,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5),
        epochs=args.epochs,
        batch=64,
        seed=args.seed,
        device=DEVICE,
    )
    running_loss = torch.zeros((), device=DEVICE)
    for step in steps:
        running_loss += step.loss  # stays on the device: .item() at every step would make a GPU wait
        if step.number % 100 == 0:
            print(f"epoch {step.epoch}, batch {step.number}: running loss {running_loss.item() / 100:.4f}")
            running_loss.zero_()
    print(f"test accuracy {accuracy(net, data.test):.2%}")


if __name__ == "__main__":
    main()
