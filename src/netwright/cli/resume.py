"""`netwright resume RUN`: go on where a run was interrupted."""

from __future__ import annotations

import typer

from netwright.cli.arguments import AsJson, Quiet, RunFolder, say
from netwright.cli.fit import show


def register(app: typer.Typer) -> None:
    app.command("resume")(resume)


def resume(run: RunFolder, as_json: AsJson = False, quiet: Quiet = False) -> None:
    """Go on where a run was interrupted, to the same weights as if it never had been."""
    from netwright.run import Run

    opened = Run(run)
    if opened.finished and not quiet:
        say(f"{run} is finished already; this is its result.")
    show(opened.resume(quiet=quiet), as_json=as_json)
