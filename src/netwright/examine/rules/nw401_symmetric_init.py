"""NW401: rows of a weight matrix are equal."""

from __future__ import annotations

from collections.abc import Iterator

from netwright.examine.observation import Observation
from netwright.examine.rules import NotObserved, evidence
from netwright.finding import Evidence, Rule

RULE = Rule(
    code="NW401",
    slug="symmetric-init",
    level="error",
    by="step",
    title="all units of a layer start equal and get equal gradients, so they never differ",
    what="The rows of a weight matrix are equal (zeros, ones, another constant), and so are the rows of its gradient.",
    why="Every unit of the layer computes the same and is changed by the same amount: however wide, the layer works as a "
    "single unit for ever.",
    fix="Leave PyTorch's own initialisation, or use nn.init.kaiming_uniform_ or xavier_uniform_; constants only for biases.",
    example="nn.init.constant_(layer.weight, 0.5)      # wrong\nnn.init.kaiming_uniform_(layer.weight)    # right",
    limits="Silent where the gradients of the rows differ: an output layer or a residual branch that starts at zero, LoRA's B.",
    explains=frozenset({"NW402", "NW403", "NW503", "NW502", "NW512", "NW605"}),
)


def check(observation: Observation) -> Iterator[Evidence]:
    if not observation.backwards:
        raise NotObserved("no backward was seen")
    stuck = _stuck(observation)
    for parameter in observation.parameters:
        if (
            not parameter.rows_equal
            or parameter.module < 0
            or not parameter.requires_grad
            or parameter.shape[0] < 2
        ):
            continue
        # A gradient of 0 says nothing yet (a branch behind an output layer that starts at 0), unless no matrix gets any.
        if not (parameter.gradient_rows_equal or (parameter.gradient_rows_equal is None and stuck)):
            continue
        module = observation.modules[parameter.module]
        value = parameter.stats.min if parameter.stats is not None else None
        yield evidence(
            observation,
            parameter.written or module,
            layer=module.uid,
            also=[module.place],
            seen={"different_rows": 1, "different_gradient_rows": 1, "first_value": value},
            expected={"different_rows": parameter.shape[0]},
            title=f"all {parameter.shape[0]} units of {parameter.name} start equal and get equal gradients",
            harm="measured",
        )


def _stuck(observation: Observation) -> bool:
    """Returns whether the first gradient of every matrix of weights was 0, so that only biases can change."""
    matrices = {
        str(entry.uid)
        for entry in observation.parameters
        if entry.module >= 0 and len(entry.shape) >= 2 and entry.requires_grad and not entry.buffer
    }
    first = {uid: size for uid, size in observation.backwards[0].gradients.items() if uid in matrices}
    return len(first) >= 2 and all(size == 0 for size in first.values())


_PROGRAM = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))
network = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 4))
for layer in network:
    if isinstance(layer, nn.Linear):
        {init}
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
bad = _PROGRAM.replace("{init}", "nn.init.constant_(layer.weight, 0.1)\n        nn.init.zeros_(layer.bias)")
good = _PROGRAM.replace("{init}", "nn.init.xavier_uniform_(layer.weight)\n        nn.init.zeros_(layer.bias)")
near_miss = """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
inputs, labels = torch.randn(128, 20), torch.randint(0, 4, (128,))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.inner, self.last = nn.LayerNorm(20), nn.Linear(20, 40), nn.Linear(40, 20)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x):
        return x + self.last(F.gelu(self.inner(self.norm(x))))


network = nn.Sequential(Block(), Block(), nn.Linear(20, 4))
nn.init.zeros_(network[2].weight)
optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
for step in range(6):
    optimizer.zero_grad()
    loss = F.cross_entropy(network(inputs), labels)
    loss.backward()
    optimizer.step()
"""
