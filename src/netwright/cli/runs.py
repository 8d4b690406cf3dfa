"""`netwright runs`: every run of a folder, the best first; or two of them side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, print_json


def register(app: typer.Typer) -> None:
    app.command("runs")(runs)


def runs(
    folders: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FOLDER] | RUN RUN", help="Where runs lie (default: here and below), or two runs."
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="KEY",
            help="score, run, data, state, epochs, seconds, findings, changed, or a recipe entry.",
        ),
    ] = "score",
    as_json: AsJson = False,
) -> None:
    """List the runs of a folder, the best first, with what differs in their recipes; or compare two of them.

    For example: netwright runs · netwright runs runs/digits-mlp-1 runs/digits-mlp-2
    """
    from netwright.errors import RecipeError

    named = folders or ["."]
    if len(named) > 2:
        raise RecipeError(f"runs takes one folder, or two runs to put side by side, not {len(named)}")
    if len(named) == 2:
        _show_pair(named[0], named[1], as_json=as_json)
        return
    from netwright.listing import list_runs

    rows, whole = list_runs(Path(named[0]), sort=sort)
    if as_json:
        print_json(rows)
        return
    from netwright.report.listing import show_list

    show_list(rows, folder=named[0], whole=whole)


def _show_pair(first: str, second: str, *, as_json: bool) -> None:
    from netwright.side_by_side import side_by_side

    found = side_by_side(Path(first), Path(second))
    if as_json:
        print_json(found)
        return
    from netwright.report.listing import show_pair

    show_pair(found)
