"""(e) MNIST with 784-128-10, log-softmax and NLL; test loss and accuracy after each epoch.

Log-softmax and NLL are cross-entropy in two visible parts: the network gives log-probabilities, and the loss is
minus that of the true class.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

import netwright as nw

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def make_network():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10), nn.LogSoftmax(dim=1)
    )


@torch.no_grad()
def test(net, split):
    """Returns mean loss and accuracy over all of a split."""
    net.eval()
    loss = correct = 0.0
    for x, y in split.batches(1000):
        log_probabilities = net(x)
        loss += functional.nll_loss(log_probabilities, y, reduction="sum").item()
        correct += (log_probabilities.argmax(1) == y).sum().item()
    net.train()
    return loss / len(split), correct / len(split)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    data = nw.load("mnist", validation=0, limit=args.limit, seed=args.seed).to(DEVICE)
    net = make_network().to(DEVICE)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    options = {"epochs": args.epochs, "batch": 64, "seed": args.seed, "device": DEVICE}
    for step in nw.train(net, data.train, loss=nn.NLLLoss(), optimizer=optimizer, **options):
        if step.ends_epoch:
            loss, accuracy = test(net, data.test)
            print(f"epoch {step.epoch}: test loss {loss:.4f}, test accuracy {accuracy:.2%}")


if __name__ == "__main__":
    main()
