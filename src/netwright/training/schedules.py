"""The learning-rate schedules by name."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler

from netwright.errors import RecipeError
from netwright.registry import Registry, check_options


@dataclass(frozen=True)
class Schedule:
    """A scheduler of PyTorch's, and when it is stepped.

    Call `scheduler.step()` after the optimizer's step: after each (`per` "step"), or after the last of an epoch
    ("epoch"); with the score that is watched, `scheduler.step(score)`, if `needs_score`. `scheduler` is None for
    a rate that never changes. `arguments` are what the scheduler was made with, beside the optimizer.

    To go on from a checkpoint: make the optimizer, make the schedule, then load the optimizer's state and the
    scheduler's. (Making a scheduler sets the optimizer's learning rate.)
    """

    scheduler: lr_scheduler.LRScheduler | None
    per: Literal["step", "epoch"] = "step"
    needs_score: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)


def constant(optimizer: Optimizer, *, total_steps: int, steps_per_epoch: int) -> Schedule:
    """Returns the schedule that keeps the learning rate."""
    return Schedule(None)


def step(
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    step_size: int | None = None,
    gamma: float = 0.1,
) -> Schedule:
    """Returns torch's StepLR: times `gamma` every `step_size` epochs (None: a third of all, rounded up)."""
    if step_size is None:
        step_size = math.ceil(_epochs(total_steps, steps_per_epoch) / 3)
    _check_whole("step_size", step_size)
    return _made(lr_scheduler.StepLR, optimizer, {"step_size": step_size, "gamma": gamma}, per="epoch")


def cosine(optimizer: Optimizer, *, total_steps: int, steps_per_epoch: int, eta_min: float = 0.0) -> Schedule:
    """Returns torch's CosineAnnealingLR: from the learning rate to `eta_min` over all steps.

    Source: Loshchilov and Hutter, "SGDR" (2017, arXiv:1608.03983, equation 5), without restarts.
    """
    return _made(
        lr_scheduler.CosineAnnealingLR, optimizer, {"T_max": total_steps, "eta_min": eta_min}, per="step"
    )


def one_cycle(
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    max_lr: float | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    cycle_momentum: bool = False,
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Schedule:
    """Returns torch's OneCycleLR over all steps: up to `max_lr` (None: the optimizer's own rates), then down.

    Unlike PyTorch's default the momentum stays the optimizer's own, unless `cycle_momentum`. Source: Smith and
    Topin, "Super-Convergence" (2018, arXiv:1708.07120).
    """
    peaks: Any = [group["lr"] for group in optimizer.param_groups] if max_lr is None else max_lr
    arguments = {
        "max_lr": peaks[0] if isinstance(peaks, list) and len(set(peaks)) == 1 else peaks,
        "total_steps": total_steps,
        "pct_start": pct_start,
        "anneal_strategy": anneal_strategy,
        "cycle_momentum": cycle_momentum,
        "base_momentum": base_momentum,
        "max_momentum": max_momentum,
        "div_factor": div_factor,
        "final_div_factor": final_div_factor,
        "three_phase": three_phase,
    }
    return _made(lr_scheduler.OneCycleLR, optimizer, arguments, per="step")


def warmup_factor(step: int, *, warmup_steps: int, total_steps: int, then: str) -> float:
    """Returns what the learning rate is multiplied by at a step counted from 0: 0..1.

    (step + 1) / (warmup_steps + 1) during warm-up, so that the first step already learns; then 1, or half a
    cosine from 1 to 0 at total_steps.

    >>> [warmup_factor(step, warmup_steps=3, total_steps=9, then="constant") for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    if then == "constant":
        return 1.0
    done = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def warmup(
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    warmup_steps: int | None = None,
    then: Literal["constant", "cosine"] = "constant",
) -> Schedule:
    """Returns a linear warm-up over `warmup_steps` (None: a twentieth of all), `then` constant or cosine.

    It is torch's LambdaLR of `warmup_factor`: a closed form, so that the rate after warm-up is exactly the
    optimizer's own, which a product of small steps (LinearLR) misses by rounding.
    """
    if warmup_steps is None:
        warmup_steps = max(1, total_steps // 20)
    _check_whole("warmup_steps", warmup_steps)
    if then not in ("constant", "cosine"):
        raise RecipeError(f"schedule warmup: `then` is constant or cosine; got {then!r}")
    if warmup_steps >= total_steps and total_steps > 1:
        raise RecipeError(
            f"schedule warmup: warmup_steps is {warmup_steps}, but the whole run has {total_steps} steps. Give fewer."
        )
    factor = functools.partial(warmup_factor, warmup_steps=warmup_steps, total_steps=total_steps, then=then)
    return _made(lr_scheduler.LambdaLR, optimizer, {"lr_lambda": factor}, per="step")


def plateau(
    optimizer: Optimizer,
    *,
    total_steps: int,
    steps_per_epoch: int,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    threshold: float = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> Schedule:
    """Returns torch's ReduceLROnPlateau: times `factor` after more than `patience` epochs without a better score."""
    arguments = {
        "mode": mode,
        "factor": factor,
        "patience": patience,
        "threshold": threshold,
        "threshold_mode": threshold_mode,
        "cooldown": cooldown,
        "min_lr": min_lr,
    }
    return _made(lr_scheduler.ReduceLROnPlateau, optimizer, arguments, per="epoch", needs_score=True)


schedules: Registry[Callable[..., Schedule]] = Registry(
    "schedule",
    {
        "constant": constant,
        "step": step,
        "cosine": cosine,
        "one-cycle": one_cycle,
        "warmup": warmup,
        "plateau": plateau,
    },
)


def make_schedule(
    name: str | Schedule | Callable[..., Any],
    optimizer: Optimizer,
    /,
    *,
    total_steps: int,
    steps_per_epoch: int,
    **options: Any,
) -> Schedule:
    """Returns the schedule that `name` means for this optimizer and a run of `total_steps` optimizer steps.

    `name` is a registered name, a function (optimizer, total_steps=, steps_per_epoch=, **options) -> Schedule, a
    scheduler of PyTorch's (stepped after each step; ReduceLROnPlateau after each epoch) or a Schedule. Raises
    UnknownNameError for an unknown name or option, RecipeError for a value that cannot be.

    >>> import torch
    >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    >>> make_schedule("cosine", sgd, total_steps=100, steps_per_epoch=10).per
    'step'
    """
    if isinstance(name, (Schedule, lr_scheduler.LRScheduler)):
        if options:
            raise RecipeError(
                f"the schedule is already built, so {', '.join(sorted(options))} cannot be given beside it"
            )
        if isinstance(name, Schedule):
            return name
        waits = isinstance(name, lr_scheduler.ReduceLROnPlateau)
        return Schedule(name, per="epoch" if waits else "step", needs_score=waits)
    build = schedules[name] if isinstance(name, str) else name
    called = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    if not callable(build):
        raise RecipeError(f"a schedule is a name, a function or a scheduler; got {build!r}")
    for count, value in {"total_steps": total_steps, "steps_per_epoch": steps_per_epoch}.items():
        _check_whole(count, value)
    check_options(build, options, called, given=("optimizer", "total_steps", "steps_per_epoch"))
    try:
        built = build(optimizer, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **options)
    except RecipeError:
        raise
    except (TypeError, ValueError, ZeroDivisionError) as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "no options"
        raise RecipeError(
            f"the schedule {called} cannot be made with {listed} for {total_steps} steps: {error}"
        ) from error
    if not isinstance(built, Schedule):
        raise RecipeError(
            f"the schedule {called} should return a Schedule; it returned a {type(built).__name__}"
        )
    return built


def _made(
    kind: Callable[..., lr_scheduler.LRScheduler],
    optimizer: Optimizer,
    arguments: dict[str, Any],
    *,
    per: Literal["step", "epoch"],
    needs_score: bool = False,
) -> Schedule:
    return Schedule(kind(optimizer, **arguments), per=per, needs_score=needs_score, arguments=arguments)


def _epochs(total_steps: int, steps_per_epoch: int) -> int:
    return max(1, math.ceil(total_steps / steps_per_epoch))


def _check_whole(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RecipeError(f"`{name}` is a whole number above 0; got {value!r}")
