"""NW402: initial weights far too large or too small."""

from __future__ import annotations

import math
from collections.abc import Iterator

from netwright.examine.observation import Layer, Loss, Module, Observation, Op, Parameter, Place
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW402",
    slug="init-scale",
    level="warning",
    by="forward",
    title="the initial weights have the wrong scale",
    what="Before the first step the loss is far above that of guessing, or the activations grow or shrink a thousandfold from the "
    "first layer to the last, and the weights of a layer have a deviation that explains it.",
    why="A classifier that knows nothing should start near ln(number of classes). Weights that are too large make it surely wrong and "
    "saturate or kill units at once; weights that are too small let signal and gradient vanish on the way.",
    fix="Leave PyTorch's own initialisation, or use nn.init.kaiming_normal_ (ReLU) or xavier_normal_ (tanh): a deviation near "
    "1/sqrt(number of inputs).",
    example="nn.init.normal_(layer.weight)                 # wrong: deviation 1, whatever the width\n"
    "nn.init.kaiming_normal_(layer.weight)         # right",
    limits="Judges the first loss of cross-entropy (mean) only, at twice ln C or ln C + 2 and more, and only where the weights of a layer "
    "are at least four times too large; the input's own scale is another rule's. Silent on regression and on logits that are scaled "
    "on purpose.",
    explains=frozenset({"NW403", "NW404", "NW503", "NW504", "NW501", "NW512"}),
)
LARGE = (
    4.0  # deviation times the square root of the number of inputs; PyTorch's own 0.58, kaiming for ReLU 1.41
)
SMALL = 0.2
FACTOR = 1000.0


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    layers = [layer for layer in observation.layers if layer.step == 0 and layer.training]
    loss = next((loss for loss, _ in observation.loss_ops() if loss.step == 0), None)
    found = _first_loss(observation, loss) or _course(observation, layers)
    if found is not None:
        yield found


def _first_loss(observation: Observation, loss: Loss | None) -> Evidence | None:
    if loss is None or loss.function != "cross_entropy" or loss.classes < 2 or loss.value is None:
        return None
    if loss.options.get("reduction", "mean") != "mean" or loss.op < 0 or not math.isfinite(loss.value):
        return None
    chance = math.log(loss.classes)
    if loss.value < max(2 * chance, chance + 2):
        return None
    made = observation.source(observation.ops[loss.op].inputs[0])
    if made is None or made.name not in ("linear", "matmul", "addmm", "conv1d", "conv2d", "conv3d", "mean"):
        return None
    behind = [made, *observation.ancestors(made, gradient=True)]
    worst = _worst(observation, behind)
    if worst is None:
        return None
    parameter, gain = worst
    return evidence(
        observation,
        _written(observation, parameter),
        seen={"first_loss": round(loss.value, 3), "weight_std": _std(parameter)},
        expected={"first_loss": round(chance, 3), "weight_std": round(1 / math.sqrt(_inputs(parameter)), 4)},
        layer=parameter.module,
        also=[_layer(observation, parameter)],
        step=loss.step,
        title=f"the first loss is {loss.value:.3g}, guessing gives ln({loss.classes}) = {chance:.3g}: "
        f"{parameter.name or 'a weight'} starts {gain:.0f} times too large",
        harm="measured",
    )


def _std(parameter: Parameter) -> float:
    return round(parameter.stats.std, 5) if parameter.stats is not None else math.nan


def _inputs(parameter: Parameter) -> int:
    total = 1
    for size in parameter.shape[1:]:
        total *= size
    return max(1, total)


def _gain(parameter: Parameter) -> float | None:
    if parameter.stats is None or len(parameter.shape) < 2 or parameter.stats.finite < 1:
        return None
    return math.hypot(parameter.stats.std, parameter.stats.mean) * math.sqrt(_inputs(parameter))


def _weights(observation: Observation, ops: list[Op]) -> Iterator[Parameter]:
    """Yields the weight matrices of layers (not tables of embeddings) that operations read."""
    for op in ops:
        if op.name not in ("linear", "conv1d", "conv2d", "conv3d"):
            continue
        operand = observation.operand(op, "weight")
        if operand is not None and operand.parameter >= 0 and operand.source == "parameter":
            yield observation.parameters[operand.parameter]


def _worst(observation: Observation, ops: list[Op]) -> tuple[Parameter, float] | None:
    gains = [
        (parameter, gain)
        for parameter in _weights(observation, ops)
        if (gain := _gain(parameter)) is not None
    ]
    large = [entry for entry in gains if entry[1] >= LARGE]
    # Through a normalisation the scale of what lies before it does not count; the nearest to the loss is first.
    return large[0] if large else None


def _written(observation: Observation, parameter: Parameter) -> Place | Module | None:
    """Returns the line that gave a parameter its values, else the one that constructed its layer."""
    if parameter.written is not None or parameter.module < 0:
        return parameter.written
    return observation.modules[parameter.module]


def _layer(observation: Observation, parameter: Parameter) -> Place | None:
    return observation.modules[parameter.module].place if parameter.module >= 0 else None


def _course(observation: Observation, layers: list[Layer]) -> Evidence | None:
    """Activations that grow or shrink from layer to layer."""
    by_root: dict[int, list[tuple[Layer, Parameter]]] = {}
    for layer in layers:
        module = observation.modules[layer.module]
        if not module.torch or not module.cls.startswith(("Linear", "Conv")) or not module.parameters:
            continue
        parameter = observation.parameters[module.parameters[0]]
        if layer.gave is None or layer.gave.std == 0 or layer.gave.finite < 1 or _gain(parameter) is None:
            continue
        by_root.setdefault(module.root, []).append((layer, parameter))
    for course in by_root.values():
        hidden = course[:-1] if len(course) > 3 else course
        if len(hidden) < 3 or hidden[0][0].gave is None or hidden[-1][0].gave is None:
            continue
        first, last = hidden[0][0].gave.std, hidden[-1][0].gave.std
        gains = [gain for _, parameter in hidden if (gain := _gain(parameter)) is not None]
        shrinks = last < first / FACTOR and sum(gain <= SMALL for gain in gains[1:]) >= len(gains) / 2
        grows = last > first * FACTOR and sum(gain >= LARGE for gain in gains[1:]) >= len(gains) / 2
        if not (shrinks or grows):
            continue
        wrong = [
            parameter
            for _, parameter in hidden[1:]
            if (gain := _gain(parameter)) is not None and (gain <= SMALL if shrinks else gain >= LARGE)
        ]
        parameter = wrong[0]
        word = "shrink" if shrinks else "grow"
        return evidence(
            observation,
            _written(observation, parameter),
            seen={"first_layer_std": first, "last_layer_std": last, "weight_std": _std(parameter)},
            expected={
                "last_layer_std": "about the first layer's",
                "weight_std": round(1 / math.sqrt(_inputs(parameter)), 4),
            },
            layer=parameter.module,
            also=[_layer(observation, parameter)],
            step=0,
            title=f"activations {word} from {first:.2g} to {last:.2g} over {len(hidden)} layers before the first step",
            harm="measured",
        )
    return None


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 64), torch.randint(0, 10, (128,))
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
for layer in network:
    if isinstance(layer, nn.Linear):
        nn.init.{init}(layer.weight)
        nn.init.zeros_(layer.bias)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{init}", "normal_")
good = _PROGRAM.replace("{init}", "kaiming_normal_")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 64), torch.randint(0, 10, (128,))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(64, 32)
        self.classes = nn.Parameter(torch.randn(10, 32))

    def forward(self, x):  # cosine similarity with a temperature: a large first loss by design
        return 30 * F.normalize(self.embed(x), dim=1) @ F.normalize(self.classes, dim=1).t()


network = Net()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
