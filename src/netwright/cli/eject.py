"""`netwright eject RUN`: the run as a plain PyTorch script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import RunFolder, say


def register(app: typer.Typer) -> None:
    app.command("eject")(eject)


def eject(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it (default: standard output).")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the rows of a table as tensors, which its script loads as data.pt."
        ),
    ] = None,
) -> None:
    """Print the plain PyTorch script that trains the same network to the same weights."""
    from netwright.run import Run

    opened = Run(run)
    script = opened.eject()
    if data is not None:
        from netwright.eject import write_table

        write_table(opened, data)
        say(f"wrote {data}")
    if out is None:
        print(script, end="")
        return
    out.write_text(script, encoding="utf-8")
    say(f"wrote {out}")
