"""`netwright finetune SOURCE DATA`: train a network that begins from another one's weights."""

from __future__ import annotations

import inspect
import json
from typing import Annotated, Any, get_type_hints

import typer

from netwright.cli.fit import fit


def register(app: typer.Typer) -> None:
    app.command("finetune")(finetune)


def finetune(origin: str, **options: Any) -> int:
    """Train a network that begins from another one's weights.

    Its head is made anew and its other layers are frozen (transfer.freeze=gradual or none lets them learn as well). For example:
    netwright finetune efficientnet-lite0 photos/
    netwright finetune runs/first photos/ --set transfer.freeze=gradual
    netwright finetune weights.safetensors photos/ --network net.py:Net
    """
    # JSON is YAML, as which a setting's value is read.
    options["settings"] = [f"transfer.source={json.dumps(origin)}", *(options["settings"] or [])]
    return fit(**options)


def _take_what_fit_takes() -> None:
    """Gives `finetune` the arguments and options of `fit`, which the command line reads from its signature."""
    origin = Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A run's folder, a file of weights, or a pretrained network's name."
        ),
    ]
    data = Annotated[
        str, typer.Argument(metavar="DATA", help="A data set's name, a path, or a recipe file (.yaml).")
    ]
    hints = get_type_hints(fit, include_extras=True)
    hints = {"origin": origin, **hints, "source": data}
    signature = inspect.signature(fit)
    own = [
        inspect.Parameter("origin", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=origin),
        *(parameter.replace(annotation=hints[parameter.name]) for parameter in signature.parameters.values()),
    ]
    finetune.__signature__ = signature.replace(parameters=own, return_annotation=int)  # type: ignore[attr-defined]
    finetune.__annotations__ = hints


_take_what_fit_takes()
