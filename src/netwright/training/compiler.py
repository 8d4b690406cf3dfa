"""Keeps PyTorch from importing its compiler where nothing is compiled."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

_COMPILER = "torch._dynamo"
# How torch._compile._disable_dynamo remembers, on the function that it wraps, what to call (torch 2.13).
_REMEMBERED = "__dynamo_disable"


def leave_compiler_out() -> None:
    """Lets PyTorch's optimizers run without `torch._dynamo` until somebody else imports it.

    Every step of theirs, and the first `zero_grad`, `add_param_group`, `state_dict` or `load_state_dict`, imports it, only to tell torch.compile
    where not to look: 2 s and 800 modules for a program that compiles nothing. Once it is imported (torch.compile does so itself),
    all goes PyTorch's way again. Where another PyTorch is built in another way, nothing is changed.
    """
    if _COMPILER in sys.modules:
        return
    for method in vars(torch.optim.Optimizer).values():
        function = getattr(method, "__wrapped__", None)
        if function is None or _made_in(method) != torch._compile.__file__:
            continue
        if not hasattr(function, _REMEMBERED):
            setattr(function, _REMEMBERED, _until_imported(function, method))
    for kind in vars(torch.optim).values():
        step = vars(kind).get("step") if isinstance(kind, type) else None
        if getattr(getattr(step, "__code__", None), "co_name", "") == "_use_grad":
            kind.step = _step_until_imported(step)


def _made_in(function: Any) -> str:
    return getattr(getattr(function, "__code__", None), "co_filename", "")


def _until_imported(function: Callable[..., Any], method: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what an optimizer's method calls in place of its `function`, hidden from the compiler."""

    def called(*arguments: Any, **options: Any) -> Any:
        if _COMPILER not in sys.modules:
            return function(*arguments, **options)
        if getattr(function, _REMEMBERED, None) is called:
            delattr(function, _REMEMBERED)
        return method(*arguments, **options)

    return called


def _step_until_imported(step: Any) -> Callable[..., Any]:
    """Returns an optimizer's step that does as torch.optim.optimizer._use_grad_for_differentiable does, without the compiler."""

    @functools.wraps(step.__wrapped__)
    def called(self: torch.optim.Optimizer, *arguments: Any, **options: Any) -> Any:
        if _COMPILER in sys.modules:
            return step(self, *arguments, **options)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step.__wrapped__(self, *arguments, **options)

    return called
