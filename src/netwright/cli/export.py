"""`netwright export RUN --to FORMAT`: the run's network as a file that runs elsewhere, with the proof that it answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.arguments import AsJson, RunFolder, print_json, say, whole
from netwright.errors import RecipeError


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    run: RunFolder,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="onnx, pt2, aoti, safetensors, tflite, executorch or tensorflow.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The file to write (default: RUN/export/model.<suffix>)."),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Weights and products in int8 (with onnx).")] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of test decisions that may differ (default: 0.001; with --int8 0.02).",
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="The file takes N examples at a time (default: any number, where it can)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Export a run's network, and prove on the whole test part that the file answers as the network did.

    Exit code 1 where it does not: the file is kept, and netwright refuses to open it.
    """
    from netwright.exporting import export as write
    from netwright.run import Run

    if tolerance is not None and not 0 <= tolerance <= 1:
        raise RecipeError(f"--tolerance is a share of decisions from 0 to 1, not {tolerance}")
    size = whole("--batch", batch, least=1)
    found = write(Run(run), to, out=out, int8=int8, batch=size, tolerance=tolerance)
    if as_json:
        print_json({"run": run, **found})
    else:
        print(in_words(found))
    certificate = found["certificate"]
    if not certificate["passed"]:
        say(f"netwright: the certificate failed: {'; '.join(certificate['why'])}")
        raise typer.Exit(1)


def in_words(found: dict[str, Any]) -> str:
    """Returns what was exported and proven, in lines."""
    shown = found["certificate"]
    name = "rmse" if "rmse_after" in shown else "accuracy"
    latency = shown["latency_ms"]
    before = latency["before"]
    verdict = "as tested" if shown["passed"] else "NOT as tested"
    lines = [
        f"{found['artefact']}  {verdict}  ({shown['bytes']:,} bytes, run by {shown['runtime']})",
        *(f"  {note}" for note in found["notes"]),
        f"  {shown['equal_decisions']:.2%} of {shown['examples']:,} decisions equal; answers differ by "
        f"{shown['max_difference']:.2g} at most ({shown['difference_in']})",
        f"  {name} {_number(shown[f'{name}_before'])} before, {_number(shown[f'{name}_after'])} after",
        f"  one example {latency['one']:.3g} ms (PyTorch {before['one']:.3g}), {latency['batch_size']} at once "
        f"{latency['batch']:.3g} ms (PyTorch {before['batch']:.3g}), {latency['threads']} threads",
    ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
