"""`netwright explain-prediction RUN [FILE]`: which parts of an input an answer rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, RunFolder, print_json, say, whole


def register(app: typer.Typer) -> None:
    app.command("explain-prediction")(explain_prediction)


def explain_prediction(
    run: RunFolder,
    file: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE]",
            help="What predict takes; without it a test example is explained.",
            show_default=False,
        ),
    ] = None,
    of: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Explain another class than the one predicted.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="CLASS", help="What speaks for the class and not for this one.")
    ] = None,
    row: Annotated[
        str | None, typer.Option(metavar="N", help="The how manieth example in FILE (default 1).")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="N", help="Test example N as the report names it (default: the worst mistake)."),
    ] = None,
    html: Annotated[Path, typer.Option(metavar="FILE", help="Where the page is written.")] = Path(
        "explanation.html"
    ),
    as_json: AsJson = False,
) -> None:
    """Explain one answer: saliency, integrated gradients and occlusion of images, recordings and series; tokens of texts; columns of tables.

    Each map is checked: with shuffled weights it must change. Needs pip install 'netwright[explain]'.
    """
    from netwright.errors import ExplanationError
    from netwright.report.explanation import write_explanation
    from netwright.run import Run

    if file is not None and test is not None:
        raise ExplanationError("give a FILE or --test, not both")
    number, chosen = whole("--row", row, least=1), whole("--test", test, least=0)
    if file is None and number is not None:
        raise ExplanationError("--row goes with a FILE of several examples")
    found = Run(run).explain_prediction(
        None if file is None else [Path(file)], of=of, against=against, row=number or 1, test=chosen
    )
    page = write_explanation(html, found)
    if as_json:
        print_json({**found.to_dict(), "page": str(page)})
        return
    print(found)
    say(f"\nthe maps as a page: {page}")
