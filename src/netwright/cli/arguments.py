"""What several verbs take, and how they print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from netwright.recipe import Recipe
    from netwright.run import Run
    from netwright.shipping import Answering

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.", show_default=False)]
RunOrArtefact = Annotated[
    str,
    typer.Argument(metavar="RUN|ARTEFACT", help="A run's folder, or what export wrote.", show_default=False),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")
]
ProcessCount = Annotated[
    str | None, typer.Option("--processes", metavar="N", help="Train in N processes on this machine.")
]
Restarts = Annotated[
    str | None,
    typer.Option(metavar="K", help="With --processes: start again, up to K times, if a process fails."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def recipe_layer(source: str) -> dict[str, Any]:
    """Returns the entries of the recipe's file that SOURCE is, or else those that make SOURCE the data."""
    from netwright.recipe import Recipe

    path = Path(source)
    return Recipe.read(path) if path.suffix in (".yaml", ".yml") else {"data.source": source}


def opened(source: str) -> Run | Answering:
    """Returns what answers: an exported file, opened again, or the run in a folder; raises the error that tells why there is none."""
    if Path(source).is_file():
        from netwright.shipping.artefacts import open_artefact

        return open_artefact(source)
    from netwright.run import Run

    return Run(source)


def print_json(content: Any) -> None:
    """Prints one JSON value; numbers that JSON does not have (NaN, Inf) become null."""
    print(json.dumps(_without_nan(content), ensure_ascii=False))


def _without_nan(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_without_nan(value) for value in content]
    if isinstance(content, float) and (content != content or content in (float("inf"), float("-inf"))):
        return None
    return content


def say(text: str) -> None:
    """Prints a line for people on standard error."""
    print(text, file=sys.stderr)


def launched(
    command: Sequence[str], recipe: Recipe, *, processes: str | None, restarts: str | None
) -> int | None:
    """Runs `netwright COMMAND` in the processes that are asked for and returns the exit code; None if in this one.

    Raises:
        RecipeError: these processes cannot be, or cannot carry out this recipe.
    """
    from netwright.errors import RecipeError
    from netwright.run_files import FROM_PYTHON
    from netwright.training.distributed import Processes

    count = whole("--processes", processes, least=1)
    again = whole("--restarts", restarts, least=0)
    if count is None and again is not None:
        raise RecipeError("--restarts needs --processes: how many processes shall be started again?")
    if count is None or (count == 1 and not again):
        return None
    if "WORLD_SIZE" in os.environ:
        raise RecipeError(
            f"--processes inside torchrun: this is one of its {os.environ['WORLD_SIZE']} processes already. Leave one out."
        )
    if FROM_PYTHON in (recipe.network.name, recipe.data.source):
        raise RecipeError(
            "the network or the data of this run was a Python object, which other processes do not have.\n"
            "Call netwright.fit in a script of yours, and start that: torchrun --nproc-per-node N script.py"
        )
    Processes(world=count).check_batch(recipe.data.batch)
    _check_devices(recipe.train.device, count)

    from netwright.training.launching import launch

    return launch(command, processes=count, restarts=again or 0)


def _check_devices(name: str, count: int) -> None:
    from netwright.training.distributed import Processes
    from netwright.training.precision import choose_device

    Processes(world=count, local_rank=count - 1, rank=count - 1).check_device(choose_device(name))


def whole(option: str, value: str | None, *, least: int) -> int | None:
    """Returns the whole number that an option was given, or None; raises RecipeError for what is none, or too small."""
    from netwright.errors import RecipeError

    if value is None:
        return None
    if not value.isdecimal() or int(value) < least:
        raise RecipeError(f"{option} is a whole number of at least {least}, not {value!r}")
    return int(value)
