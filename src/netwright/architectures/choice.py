"""`network(...)`: from a name, a file's class or a module to a module that fits the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from netwright.architectures.builders import networks
from netwright.architectures.trial import try_on_example
from netwright.architectures.user_file import is_file_reference, load_object, where
from netwright.errors import NetworkError
from netwright.registry import check_options, option_names

_SHAPES = ("input_shape", "num_outputs")
# What our own networks may be told of the data (`Preparation.facts`): no options, whatever the data.
_FACTS = ("cardinalities", "vocabulary", "padding", "every_token", "forecast")


def network(
    name: str | nn.Module | Callable[..., nn.Module],
    data: Any = None,
    /,
    *,
    input_shape: Sequence[int] | None = None,
    num_outputs: int | None = None,
    single_logit: bool = False,
    facts: Mapping[str, Any] | None = None,
    **options: Any,
) -> nn.Module:
    """Returns the network that `name` means, tried on one example of `data` if there is data.

    `name` is a registered name ("mlp", "cnn", yours), "file.py:Name" of a class, function or module, a class or
    function itself, or an nn.Module, which is returned as it is. `options` go to whatever builds it; a class or
    function that has arguments called `input_shape` (without N) or `num_outputs` is given them. `data` is
    anything with `input_shape`, `num_outputs` and `example`; the arguments of those names come before it.
    `single_logit` also allows one output for two classes (see `try_on_example`). `facts` is what else is known of the
    data, for builders that have arguments of these names (default: those of `data.preparation`). Raises NetworkError for a
    network that cannot be built or does not fit the data, UnknownNameError for an unknown name or option.

    >>> network("mlp", input_shape=(4,), num_outputs=3, hidden=[])
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=4, out_features=3, bias=True)
    )
    >>> network("mlp", input_shape=(4,), num_outputs=3, hiden=[])
    Traceback (most recent call last):
    netwright.errors.UnknownNameError: unknown mlp option 'hiden': did you mean 'hidden'? Known: activation, batch_norm, dropout, hidden, norm, output_activation
    """
    shapes: dict[str, Any] = {
        "input_shape": getattr(data, "input_shape", None) if input_shape is None else tuple(input_shape),
        "num_outputs": getattr(data, "num_outputs", None) if num_outputs is None else num_outputs,
    }
    if facts is None:
        facts = getattr(getattr(data, "preparation", None), "facts", {})
    built = _built(name, shapes, facts, options)
    if data is not None:
        example = data.example
        inputs = example if isinstance(example, Tensor) else example[0]
        try_on_example(
            built,
            inputs,
            shapes["num_outputs"],
            task=getattr(data, "task", "classification"),
            single_logit=single_logit,
            output_shape=getattr(data, "output_shape", None),
        )
    return built


def _built(
    name: Any, shapes: Mapping[str, Any], facts: Mapping[str, Any], options: Mapping[str, Any]
) -> nn.Module:
    if isinstance(name, str) and not is_file_reference(name):
        builder, called, registered = networks[name], name, True
    else:
        builder = load_object(name) if isinstance(name, str) else name
        called = name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)
        registered = False
    if isinstance(builder, nn.Module):
        if options:
            raise NetworkError(
                f"{called} is a network already built, so it takes no options; got {', '.join(sorted(options))}"
            )
        return builder
    if not callable(builder) or (inspect.isclass(builder) and not issubclass(builder, nn.Module)):
        raise NetworkError(
            f"{called} should be an nn.Module, or a class or function that makes one; it is {_what(builder)}"
        )
    return _constructed(builder, called, shapes, facts, options, registered=registered)


def _constructed(
    builder: Callable[..., Any],
    called: str,
    shapes: Mapping[str, Any],
    facts: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    registered: bool,
) -> nn.Module:
    names = option_names(builder)
    if registered and names is not None:
        _check_takes_tokens(names, called, facts)
    taken = {key: value for key, value in shapes.items() if (registered if names is None else key in names)}
    missing = [key for key, value in taken.items() if value is None and _is_required(builder, key)]
    if missing:
        raise NetworkError(
            f"network {called!r} needs {' and '.join(missing)}: give data, or "
            + " and ".join(f"{key}=..." for key in missing)
        )
    asked = {key: value for key, value in facts.items() if names is not None and key in names}
    arguments = {key: value for key, value in taken.items() if value is not None} | asked | dict(options)
    check_options(builder, options, called, given=(*_SHAPES, *asked, *(_FACTS if registered else ())))
    _check_complete(builder, called, arguments)
    try:
        built = builder(**arguments)
    except NetworkError:
        raise
    except Exception as error:
        line = where(error)
        raise NetworkError(
            f"{called} could not be built with {_listed(arguments)}:\n{type(error).__name__}: {error}"
            + (f"\nat {line}" if line else "")
        ) from error
    if not isinstance(built, nn.Module):
        raise NetworkError(f"{called} should make an nn.Module; it made {_what(built)}")
    return built


def _check_takes_tokens(names: Sequence[str], called: str, facts: Mapping[str, Any]) -> None:
    """Raises NetworkError where texts or a corpus meet a network that does not ask for what is known of them."""
    corpus = "every_token" in facts
    needed = "every_token" if corpus else "vocabulary"
    if needed not in facts or needed in names:
        return
    fitting = [name for name, entry in networks.items() if needed in (option_names(entry) or ())]
    if corpus:
        said = f"network {called!r} does not predict each next token, as a corpus wants it"
    else:
        fitting.remove("gpt")  # it asks for the vocabulary too, but predicts tokens and nothing else
        said = f"network {called!r} takes numbers, and this data is texts, as token ids (N, L) int64"
    raise NetworkError(f"{said}.\nUse one of {', '.join(fitting)}, or a network of yours.")


def _check_complete(builder: Callable[..., Any], called: str, arguments: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(builder)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise NetworkError(
            f"{called} could not be built with {_listed(arguments)}: {error}.\n"
            f"It takes {signature.replace(return_annotation=inspect.Signature.empty)}; give what is missing as options."
        ) from error


def _is_required(builder: Callable[..., Any], name: str) -> bool:
    try:
        parameter = inspect.signature(builder).parameters.get(name)
    except (TypeError, ValueError):
        return False
    return parameter is not None and parameter.default is parameter.empty


def _listed(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items()) or "no options"


def _what(thing: Any) -> str:
    return f"the class {thing.__name__}" if inspect.isclass(thing) else f"a {type(thing).__name__}"
