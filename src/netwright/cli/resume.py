"""`netwright resume RUN`: go on where a run was interrupted."""

from __future__ import annotations

import typer

from netwright.cli.arguments import AsJson, ProcessCount, Quiet, Restarts, RunFolder, launched, say
from netwright.cli.fit import show


def register(app: typer.Typer) -> None:
    app.command("resume")(resume)


def resume(
    run: RunFolder,
    processes: ProcessCount = None,
    restarts: Restarts = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Go on where a run was interrupted, to the same weights as if it never had been.

    With --processes it goes on in several, however many it was begun with.
    """
    from netwright.run import Run
    from netwright.training.distributed import Processes, joined

    here = Processes.here()
    with joined(here):
        opened = Run(run)
        if opened.finished and not quiet and here.first:
            say(f"{run} is finished already; this is its result.")
        if not opened.finished:
            command = ["resume", run, *(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]
            code = launched(command, opened.recipe, processes=processes, restarts=restarts)
            if code is not None:
                return code
        show(opened.resume(quiet=quiet), as_json=as_json)
    return 0
