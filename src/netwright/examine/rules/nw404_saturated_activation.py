"""NW404: sigmoid or tanh units sit where their derivative is nearly 0."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import PASSIVE, Layer, Observation, Op, Operand, Place, straight
from netwright.examine.rules import NotObserved, evidence, percent
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW404",
    slug="saturated-activation",
    level="warning",
    by="100",
    title="sigmoid or tanh units are saturated: hardly any gradient passes them",
    what="Most values that come out of a hidden sigmoid or tanh lie so near its ends that the derivative there is under 0.01.",
    why="What the layers before it get as gradient is multiplied by these derivatives: they learn a hundred times more slowly than "
    "the layers behind, and the hidden layer is little more than a random step function.",
    fix="Make what goes in smaller: scale the inputs to about -1..1, use xavier initialisation, put a normalisation layer before the "
    "activation, or take nn.ReLU() or nn.GELU().",
    example="nn.init.normal_(layer.weight, std=1.0)     # wrong for wide layers: sums of hundreds of inputs\n"
    "nn.init.xavier_uniform_(layer.weight)      # right",
    limits="Counts hidden activations whose result goes into a linear or convolutional layer, with 50 % or more saturated values in "
    "two batches at least five steps apart, the latest one included. Silent on gates (LSTM, GRU, attention, squeeze-and-excite) and "
    "on output units.",
    explains=frozenset({"NW503", "NW502", "NW512"}),
)
SHARE = 0.5
APART = 5


def check(observation: Observation) -> Iterator[Evidence]:
    probes: dict[tuple[int, int], list[Layer]] = {}
    for layer in observation.layers:
        if layer.saturated is not None and layer.training:
            probes.setdefault((layer.module, layer.before), []).append(layer)
    if not probes:
        raise NotObserved("no sigmoid or tanh between layers was seen")
    for (uid, before), seen in probes.items():
        last = seen[-1]
        full = [layer for layer in seen if layer.saturated is not None and layer.saturated >= SHARE]
        if last.saturated is None or last.saturated < SHARE or last.step - full[0].step < APART:
            continue
        op = observation.ops[before] if before >= 0 else _hidden(observation, uid)
        if op is None or _also_gate(observation, op):
            continue
        yield evidence(
            observation,
            op,
            seen={"saturated_share": round(last.saturated, 4), "at_step": last.step},
            expected={"saturated_share": f"below {SHARE}"},
            step=full[0].step,
            also=[op.caller if observation.where(op) == op.place else None, *_built(observation, op)],
            title=f"{percent(last.saturated)} of the {observation.squashes(op)} values have a derivative under 0.01, at step {full[0].step} and "
            f"still at step {last.step}",
            harm="measured",
        )


def _hidden(observation: Observation, uid: int) -> Op | None:
    """Returns the operation of an activation layer if its result goes into another layer with weights."""
    for op in observation.ops:
        if op.name in ("linear", "conv1d", "conv2d", "conv3d") and op.grad and op.inputs:
            made = observation.made(op.inputs[0])
            while made is not None and made.inputs and (made.name in PASSIVE or "pool" in made.name):
                made = observation.made(made.inputs[0])
            if made is not None and made.module == uid:
                return made
    return None


def _also_gate(observation: Observation, op: Op) -> bool:
    """Returns whether the same values are multiplied with others."""
    return any(
        entry.name in ("mul", "lerp")
        and any(
            (made := _unscaled(observation, operand)) is not None
            and (made.module, made.place, made.name) == (op.module, op.place, op.name)
            for operand in entry.inputs
        )
        and sum(operand.op >= 0 for operand in entry.inputs) > 1
        for entry in observation.ops
        if abs(entry.step - op.step) <= 1
    )


def _unscaled(observation: Observation, operand: Operand) -> Op | None:
    """Returns the operation that made an operand, scaling and shifting by plain numbers left out."""
    op = observation.made(operand)
    while op is not None and op.inputs and straight(op) is not None:
        op = observation.made(op.inputs[0])
    return op


def _built(observation: Observation, op: Op) -> list[Place | None]:
    """Returns the line that constructs the user's own layer of activation."""
    if op.module < 0 or observation.modules[op.module].parameters or observation.modules[op.module].children:
        return []
    return [observation.modules[op.module].place]


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 100), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(100, 64), nn.Tanh(), nn.Linear(64, 4))
with torch.no_grad():
    nn.init.{init}(network[0].weight)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(30):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{init}", "normal_")
good = _PROGRAM.replace("{init}", "xavier_normal_")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 12, 8), torch.randint(0, 2, (128,)).float()


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates, self.value, self.out = nn.Linear(24, 16), nn.Linear(24, 16), nn.Linear(16, 1)
        nn.init.constant_(self.gates.bias, 6.0)  # remember at first

    def forward(self, x):
        state = x.new_zeros(len(x), 16)
        for t in range(x.shape[1]):
            both = torch.cat([x[:, t], state], 1)
            keep = torch.sigmoid(self.gates(both))
            state = keep * state + (1 - keep) * torch.tanh(self.value(both))
        return torch.sigmoid(20 * self.out(state)).squeeze(1)  # a confident output


network = Cell()
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(20):
    optimizer.zero_grad()
    loss = F.binary_cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
