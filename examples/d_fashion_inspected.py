"""(d) FashionMNIST with 784-512-512-10, and a look at what the network is: its layers, its answer, its parameters."""

import argparse

import torch
from torch import nn

import netwright as nw


def make_network():
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(28 * 28, 512),
        nn.ReLU(),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--limit", type=int, help="use only so many examples of each part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    device = torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else "cpu"
    print(f"device: {device}")
    data = nw.load("fashion-mnist", validation=0, limit=args.limit, seed=args.seed).to(device)
    net = make_network().to(device)
    print(net)

    options = {"loss": "cross-entropy", "optimizer": "adam", "lr": 1e-3, "seed": args.seed, "device": device}
    for step in nw.train(net, data.train, epochs=args.epochs, batch=64, **options):
        if step.ends_epoch:
            print(f"epoch {step.epoch}: loss of the last batch {step.loss:.4f}")

    net.eval()
    with torch.no_grad():
        images, labels = data.test.prepared(slice(None))
        logits = net(images)
    print(f"test accuracy {(logits.argmax(1) == labels).float().mean():.2%}")

    print("\nThe first test image:")
    for name, probability in zip(data.classes, logits[0].softmax(dim=0)):
        print(f"  {name:<12} {probability:.4f}")
    print(f"predicted {data.classes[logits[0].argmax()]}, and it is {data.classes[labels[0]]}")

    print("\nThe parameters:")
    for name, parameter in net.named_parameters():
        first = ", ".join(f"{value:+.4f}" for value in parameter.flatten()[:4])
        print(f"  {name:<9} size {tuple(parameter.shape)!s:<11} first values {first}")


if __name__ == "__main__":
    main()
