"""How well NW205 tells labels that depend on inputs from labels that do not: deviations on known data.

    python benchmarks/examiner/pairing.py

Printed for each set of examples: the three deviations (kernel, neighbours, linear) that netwright.examine.pairing finds; and of
random orders of digits' labels, how many exceed what the rule takes for a dependence.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer, load_digits

from netwright.examine.pairing import scores


def main() -> None:
    torch.manual_seed(0)
    digits, cancer = load_digits(), load_breast_cancer()
    images, labels = torch.tensor(digits.data).float(), torch.tensor(digits.target).double()
    chosen = torch.randperm(len(images))[:500]
    grid, bits, table = torch.rand(500, 2), torch.randint(0, 2, (500, 10)).float(), torch.randn(500, 20)
    sets = {
        "digits": (images[chosen], labels[chosen]),
        "breast cancer, 150": (
            torch.tensor(cancer.data[:150]).float(),
            torch.tensor(cancer.target[:150]).double(),
        ),
        "4 x 4 checkerboard": (grid, (grid * 4).floor().sum(1) % 2),
        "parity of 3 of 10 bits": (bits, bits[:, :3].sum(1) % 2),
        "sign of a product of 2 of 20": (table, (table[:, 0] * table[:, 1] > 0).double()),
        "0.2 deviations in 1 of 20": (table, (0.2 * table[:, 0] + torch.randn(500) > 0).double()),
        "noise": (table, torch.randint(0, 2, (500,)).double()),
    }
    for name, (inputs, targets) in sets.items():
        print(f"{name:30}", *(f"{value:8.1f}" for value in scores(inputs, targets.double())))
    some = chosen[:300]
    largest = [max(map(abs, scores(images[some], labels[some][torch.randperm(300)]))) for _ in range(100)]
    print("random orders of 300 digits above 2.6:", sum(value > 2.6 for value in largest), "of 100")


if __name__ == "__main__":
    main()
