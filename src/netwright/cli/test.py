"""`netwright test RUN`: the scores of a run's network."""

from __future__ import annotations

from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, RunFolder, print_json


def register(app: typer.Typer) -> None:
    app.command("test")(test)


def test(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="Other data than the run's own test part.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test a run's network: its own test part, or other data of the same kind."""
    from netwright.run import Run

    opened = Run(run)
    scores = opened.test(data)
    result = {"run": run, "test": scores}
    if as_json:
        print_json(result)
        return
    from netwright.report.terminal import summary

    summary({**result, "title": opened.title, "tested": True})
