"""The optimizers by name."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from netwright.errors import NetworkError, RecipeError
from netwright.registry import Registry, check_options
from netwright.training.compiler import leave_compiler_out


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for the hidden matrices of a network, AdamW for the rest, as one optimizer.

    Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) makes the update of a matrix
    orthogonal. Its author advises it for hidden weights alone: embeddings, the output layer, gains and biases go
    to AdamW. Here Muon gets every 2-D weight outside nn.Embedding, but the last one in the order of definition;
    torch.optim.Muon takes no convolutions, so they go to AdamW as well. Updates are scaled to AdamW's size
    (adjust_lr_fn="match_rms_adamw") and both share `lr` and `weight_decay`, as in Liu et al., "Muon is Scalable
    for LLM Training" (2025, arXiv:2502.16982, section 2.2). `param_groups` holds Muon's group, then AdamW's.
    """

    def __init__(
        self,
        network: nn.Module,
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise RuntimeError(f"muon needs torch 2.9 or later; this is torch {torch.__version__}")
        embedded = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding)}
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        flat = [
            parameter
            for parameter in network.parameters()
            if parameter.ndim == 2 and id(parameter) not in embedded
        ]
        hidden = {id(parameter) for parameter in flat[:-1]}
        matrices = [parameter for parameter in trained if id(parameter) in hidden]
        if not matrices:
            raise ValueError(
                "muon updates hidden 2-D weights, and this network has none to train: embeddings, convolutions and "
                "the output layer are AdamW's. Use adamw"
            )
        muon = torch.optim.Muon(
            matrices,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_steps=ns_steps,
            adjust_lr_fn="match_rms_adamw",
        )
        rest = [parameter for parameter in trained if id(parameter) not in hidden]
        self._parts: list[torch.optim.Optimizer] = [muon]
        if rest:
            self._parts.append(
                torch.optim.AdamW(rest, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)
            )
        super().__init__([part.param_groups[0] for part in self._parts], {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):  # type: ignore[no-untyped-def]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part, group in zip(self._parts, self.param_groups):
            # Lent anew at each step: load_state_dict replaces both objects.
            part.param_groups = [group]
            part.state = self.state
            part.step()
        return loss


optimizers: Registry[Callable[..., torch.optim.Optimizer]] = Registry(
    "optimizer",
    {
        "sgd": torch.optim.SGD,
        "sgd-momentum": functools.partial(torch.optim.SGD, momentum=0.9),
        "sgd-nesterov": functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
        "adadelta": torch.optim.Adadelta,
        "nadam": torch.optim.NAdam,
        "muon": MuonWithAdamW,
    },
)

# The learning rate that an optimizer of this class gets if none is given: PyTorch's own defaults (torch 2.13,
# https://docs.pytorch.org/docs/stable/optim.html), written out so that another PyTorch does not change a recipe.
# SGD's is Keras's 0.01, ten times PyTorch's: 0.001 without momentum is slow. Muon's is AdamW's, whose size its
# updates are scaled to.
DEFAULT_LR: dict[type[torch.optim.Optimizer], float] = {
    torch.optim.SGD: 1e-2,
    torch.optim.Adam: 1e-3,
    torch.optim.AdamW: 1e-3,
    torch.optim.RMSprop: 1e-2,
    torch.optim.Adagrad: 1e-2,
    torch.optim.Adadelta: 1.0,
    torch.optim.NAdam: 2e-3,
    MuonWithAdamW: 1e-3,
}

# fused=True makes their step 4 times as fast, and with it the whole training step twice as fast (measured on one
# CPU core with 784-512-512-10 and batch 64, torch 2.13).
_FUSED = (torch.optim.Adam, torch.optim.AdamW)
# Arguments of theirs that exclude fused=True.
_AGAINST_FUSED = ("fused", "foreach", "differentiable")


def make_optimizer(
    name: str | torch.optim.Optimizer | Callable[..., torch.optim.Optimizer],
    network: nn.Module,
    /,
    *,
    lr: float | None = None,
    groups: Sequence[tuple[Sequence[nn.Parameter], float]] | None = None,
    **options: Any,
) -> torch.optim.Optimizer:
    """Returns the optimizer that `name` means, over the network's parameters that require a gradient.

    `name` is a registered name, an optimizer class or function of (parameters, lr=, **options), or an optimizer,
    which is returned as it is. The network must already be on its device. See `optimizer_arguments` for what is
    filled in. `groups`: parameters, trained now or later, each with what their learning rate is of `lr`; the last is the one
    whose rate is shown, so it comes first. Raises UnknownNameError for an unknown name or option, RecipeError for a value that cannot be,
    NetworkError for a network without anything to train and for an optimizer of another network's parameters.

    >>> make_optimizer("sgd-momentum", nn.Linear(2, 1)).param_groups[0]["momentum"]
    0.9
    """
    leave_compiler_out()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not trained:
        raise NetworkError(
            "the network has nothing to train: it has no parameters, or all are frozen (requires_grad is False)"
        )
    if isinstance(name, torch.optim.Optimizer):
        return _checked(name, trained, lr=lr, options=options)
    builder = optimizers[name] if isinstance(name, str) else name
    called = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    arguments = optimizer_arguments(name, network, lr=lr, **options)
    taken: Any = network if takes_network(builder) else trained
    if groups is not None and not takes_network(builder):
        taken = _as_groups(groups, arguments, called)
    try:
        return builder(taken, **arguments)
    except RuntimeError as error:
        raise RecipeError(str(error)) from error
    except (TypeError, ValueError) as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise RecipeError(f"the optimizer {called} cannot be made with {listed}:\n{error}") from error


def _as_groups(
    groups: Sequence[tuple[Sequence[nn.Parameter], float]], arguments: Mapping[str, Any], called: str
) -> list[dict[str, Any]]:
    """Returns what a torch optimizer takes in place of parameters, the last group first."""
    if "lr" not in arguments and any(factor != 1 for _, factor in groups):
        raise RecipeError(
            f"{called} has no learning rate that is known here: give --lr, for stages that learn more slowly"
        )
    return [
        {"params": list(parameters), **({"lr": arguments["lr"] * factor} if factor != 1 else {})}
        for parameters, factor in reversed(groups)
        if parameters
    ]


def optimizer_arguments(
    name: str | Callable[..., torch.optim.Optimizer],
    network: nn.Module,
    /,
    *,
    lr: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Returns all that is passed to the optimizer beside the parameters: `lr`, options, and what is filled in.

    Filled in are `lr` from DEFAULT_LR if it is None, and fused=True for Adam and AdamW on a CPU or CUDA device,
    unless an option says otherwise. Raises UnknownNameError for an unknown name or option, RecipeError for a
    learning rate that is no number above 0.

    >>> optimizer_arguments("adam", nn.Linear(2, 1), weight_decay=0.1)
    {'lr': 0.001, 'weight_decay': 0.1, 'fused': True}
    """
    builder = optimizers[name] if isinstance(name, str) else name
    called = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    if not callable(builder):
        raise RecipeError(f"an optimizer is a name, a class or an optimizer; got {builder!r}")
    check_options(builder, options, called, given=("params", "network", "lr"))
    kind = _kind(builder)
    if lr is None:
        lr = _preset_lr(builder) if _preset_lr(builder) is not None else DEFAULT_LR.get(kind)
    elif isinstance(lr, bool) or not isinstance(lr, (int, float)) or not 0 < lr < math.inf:
        raise RecipeError(f"the learning rate (lr) is a number above 0; got {lr!r}")
    arguments = ({} if lr is None else {"lr": lr}) | options
    settled = any(arguments.get(option) is not None for option in _AGAINST_FUSED)
    if kind in _FUSED and not settled and _can_be_fused(network):
        arguments["fused"] = True
    return arguments


def takes_network(builder: Callable[..., Any]) -> bool:
    """Says whether an optimizer is made from the whole network, its first argument `network`, not its parameters.

    >>> takes_network(optimizers["muon"]), takes_network(optimizers["sgd"])
    (True, False)
    """
    try:
        return next(iter(inspect.signature(builder).parameters), "") == "network"
    except (TypeError, ValueError):
        return False


def _kind(builder: Any) -> Any:
    while isinstance(builder, functools.partial):
        builder = builder.func
    return builder


def _preset_lr(builder: Any) -> Any:
    return builder.keywords.get("lr") if isinstance(builder, functools.partial) else None


def _can_be_fused(network: nn.Module) -> bool:
    return all(
        parameter.device.type in ("cpu", "cuda") and parameter.dtype in (torch.float32, torch.float64)
        for parameter in network.parameters()
        if parameter.requires_grad
    )


def _checked(
    optimizer: torch.optim.Optimizer,
    trained: list[nn.Parameter],
    *,
    lr: float | None,
    options: dict[str, Any],
) -> torch.optim.Optimizer:
    if lr is not None or options:
        names = ", ".join((["lr"] if lr is not None else []) + sorted(options))
        raise RecipeError(f"the optimizer is already built, so {names} cannot be given beside it")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not held & {id(parameter) for parameter in trained}:
        raise NetworkError(
            "the optimizer updates none of this network's parameters.\n"
            "Make it after the network is complete, from network.parameters()."
        )
    return optimizer
