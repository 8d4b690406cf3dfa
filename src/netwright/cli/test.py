"""`netwright test RUN|ARTEFACT`: the scores of a run's network, or of an exported file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from netwright.cli.arguments import AsJson, RunOrArtefact, opened, print_json
from netwright.errors import DataError


def register(app: typer.Typer) -> None:
    app.command("test")(test)


def test(
    run: RunOrArtefact,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", help="Other data than the run's own test part; an artefact needs some."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test a run's network: its own test part, or other data of the same kind. Of an exported file, on such data."""
    scores, title = _tested(run, data)
    result = {"run": run, "test": scores}
    if as_json:
        print_json(result)
        return
    from netwright.report.terminal import summary

    summary({**result, "title": title, "tested": True})


def _tested(source: str, data: str | None) -> tuple[dict[str, Any], str]:
    from netwright.run import Run

    found = opened(source)
    if isinstance(found, Run):
        return found.test(data), found.title
    if data is None:
        raise DataError(
            f"{source} is an exported file, which holds no data: say what to test it on, --data SOURCE"
        )
    from netwright.retesting import scores_of

    return scores_of(found, data), found.card.title
