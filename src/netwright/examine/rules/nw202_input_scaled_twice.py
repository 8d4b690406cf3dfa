"""NW202: pixels divided by 255 twice, or normalised twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netwright.examine.observation import Intake, Observation, Op, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.examine.rules.origins import chain, intake_place
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW202",
    slug="input-scaled-twice",
    level="warning",
    by="forward",
    title="the inputs are scaled twice",
    what="Pixels are divided by 255 twice (ToTensor does it once already), or mean and deviation are taken off twice.",
    why="After the second division all pixels lie below 0.004: next to the biases the network sees blank images and learns very "
    "slowly. After a second normalisation the values are shifted and several times too large, and a pretrained network "
    "no longer gets what it was trained on.",
    fix="Scale in one place only: leave out the second division or Normalize.",
    example="net(ToTensor()(image) / 255)   # wrong: ToTensor has already divided by 255\nnet(ToTensor()(image))         # right",
    limits="Proved by the same constants applied twice in a traced step, by values that are all multiples of 1/65025 up to 1/255, "
    "or by the ends of the range that a well-known Normalize has when it runs twice. A dark image (multiples of 1/255) "
    "and standardised data are silent.",
    explains=frozenset({"NW502", "NW503", "NW512", "NW402"}),
)
_PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "(0.5, 0.5)": ((0.5,), (0.5,)),
    "MNIST": ((0.1307,), (0.3081,)),
    "Fashion-MNIST": ((0.2860,), (0.3530,)),
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-10 (2023)": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR-100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "ImageNet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.intakes:
        raise NotObserved("no layer with weights received data (in a traced step)")
    seen: set[Any] = set()
    for intake in observation.intakes:
        key = intake.module if intake.module >= 0 else intake.place
        if key in seen or intake.stats is None or intake.stats.finite < 1:
            continue
        found = _by_operations(observation, intake) or _by_range(observation, intake)
        if found is None:
            continue
        seen.add(key)
        title, place, proved = found
        yield evidence(
            observation,
            place,
            seen={
                "smallest": intake.stats.min,
                "largest": intake.stats.max,
                "mean": round(intake.stats.mean, 6),
                "deviation": round(intake.stats.std, 6),
            },
            expected={"range": "0 to 1, or mean 0 and deviation 1", "scalings": 1},
            layer=intake.module,
            step=intake.step,
            title=title,
            fact="proved" if proved else "likely",
            harm="measured",
        )


_Found = tuple[str, Place | None, bool]


def _by_operations(observation: Observation, intake: Intake) -> _Found | None:
    if intake.op < 0:
        return None
    operand = observation.ops[intake.op].inputs[intake.operand]
    steps = [op for op in chain(observation, operand) if op.name in ("div", "mul", "sub")]
    divided = [op for op in steps if _by_255(op)]
    if len(divided) >= 2:
        return "the pixels are divided by 255 twice", divided[0].place, True
    marks = [mark for op in steps if (mark := _mark(op)) is not None]
    for number in range(len(marks) - 3):
        one, two = marks[number : number + 2], marks[number + 2 : number + 4]
        if one == two and one[0][0] == "div" and one[1][0] == "sub":
            place = next(op for op in steps if _mark(op) == one[0]).place
            return "the same mean and deviation are taken off twice", place, True
    return None


def _by_255(op: Op) -> bool:
    other = op.options.get("other")
    if not isinstance(other, (int, float)) or isinstance(other, bool):
        return False
    return (op.name == "div" and 254.9 < other < 256.1) or (op.name == "mul" and abs(other * 255 - 1) < 0.01)


def _mark(op: Op) -> tuple[str, Any] | None:
    """Returns what an operation does with which constant, so that two that do the same can be told."""
    other = op.options.get("other")
    if isinstance(other, (int, float)) and other not in (0, 1):
        return op.name, other
    if len(op.inputs) == 2 and op.inputs[1].op >= 0:
        return op.name, ("op", op.inputs[1].op)
    return None


def _by_range(observation: Observation, intake: Intake) -> _Found | None:
    assert intake.stats is not None
    images = intake.call.startswith("conv") and len(intake.shape) >= 4
    if not images and intake.features < 64:
        return None
    least, most = intake.stats.min, intake.stats.max
    place = intake_place(observation, intake)
    if least >= 0 and 0.2 / 255 < most <= 1.001 / 255 and intake.stats.std > 0:
        if intake.twice and intake.stats.size >= 256:
            return f"the pixels are divided by 255 twice: the largest is {most:.5f}", place, True
        if images and most > 0.5 / 255 and intake.examples >= 4:
            return f"the largest pixel is {most:.5f}, as after two divisions by 255", place, False
    channels = list(zip(intake.low, intake.high)) if images else [(least, most)]
    for name, (means, deviations) in _PRESETS.items():
        if len(means) not in (1, len(channels)) or intake.stats.size < 1000:
            continue
        wide = list(zip(channels, means * len(channels), deviations * len(channels)))
        if all(_twice_normalised(ends, mean, deviation) for ends, mean, deviation in wide):
            return f"the images are normalised twice with the constants of {name}", place, False
        if all(_divided_and_normalised(ends, mean, deviation) for ends, mean, deviation in wide):
            return f"pixels of 0 to 1 were divided by 255 again before Normalize ({name})", place, False
    return None


def _twice_normalised(ends: tuple[float, float], mean: float, deviation: float) -> bool:
    low, high = ((value - mean) / deviation for value in ((0 - mean) / deviation, (1 - mean) / deviation))
    slack = 0.005 * (high - low)
    return abs(ends[0] - low) < slack and abs(ends[1] - high) < slack


def _divided_and_normalised(ends: tuple[float, float], mean: float, deviation: float) -> bool:
    width = 1 / 255 / deviation
    return abs(ends[0] + mean / deviation) < 0.05 * width and 0.3 * width < ends[1] - ends[0] < 1.02 * width


_PROGRAM = """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.manual_seed(0)


class Digits(Dataset):
    def __init__(self, count):
        self.labels = torch.randint(0, 3, (count,))
        shapes = torch.rand(3, 1, 10, 10) > 0.5
        self.images = (shapes[self.labels] * 150 + torch.randint(0, 106, (count, 1, 10, 10))).to(torch.uint8)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.images[index].float() / 255, self.labels[index]


network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 3))
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for images, labels in DataLoader(Digits(120), batch_size=30, shuffle=True):
    {scale}
    loss = nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item())
"""
bad = _PROGRAM.replace("{scale}", "images = images / 255.0")
good = _PROGRAM.replace("{scale}", "images = (images - 0.5) / 0.5")
near_miss = """
import torch
from torch import nn

torch.manual_seed(0)
night = (torch.rand(64, 1, 12, 12) * 9).floor() / 255  # hardly any light
table = torch.randn(64, 80) * 0.001
labels = torch.randint(0, 2, (64,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.eye = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(400, 8))
        self.rest = nn.Linear(80, 8)
        self.head = nn.Linear(16, 2)

    def forward(self, image, row):
        row = (row - row.mean(0)) / row.std(0)
        return self.head(torch.cat([self.eye(image), self.rest((row - row.mean(0)) / row.std(0))], dim=1))


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    loss = nn.functional.cross_entropy(network(night, table), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
