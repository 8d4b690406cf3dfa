"""Build, train, examine and ship neural networks on PyTorch.

Everything here is imported when it is first used, so that `import netwright` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.architectures import activations as activations
    from netwright.architectures import network as network
    from netwright.architectures import networks as networks
    from netwright.architectures import pretrained as pretrained
    from netwright.data import datasets as datasets
    from netwright.data import load as load
    from netwright.errors import NetwrightError as NetwrightError
    from netwright.examine import examine as examine
    from netwright.fitting import fit as fit
    from netwright.inspecting import inspect as inspect
    from netwright.run import Run as Run
    from netwright.training.loop import train as train
    from netwright.training.losses import losses as losses
    from netwright.training.optimizers import optimizers as optimizers
    from netwright.training.schedules import schedules as schedules

__version__ = "0.1.0"

_HOMES = {
    "NetwrightError": "netwright.errors",
    "Run": "netwright.run",
    "activations": "netwright.architectures",
    "datasets": "netwright.data",
    "examine": "netwright.examine",
    "fit": "netwright.fitting",
    "inspect": "netwright.inspecting",
    "load": "netwright.data",
    "losses": "netwright.training.losses",
    "network": "netwright.architectures",
    "networks": "netwright.architectures",
    "optimizers": "netwright.training.optimizers",
    "pretrained": "netwright.architectures",
    "schedules": "netwright.training.schedules",
    "train": "netwright.training.loop",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
