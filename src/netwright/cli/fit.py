"""`netwright fit SOURCE`: train, validate, test and save a network."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netwright.cli.arguments import (
    AsJson,
    ProcessCount,
    Quiet,
    Restarts,
    launched,
    print_json,
    recipe_layer,
    whole,
)

if TYPE_CHECKING:
    from netwright.recipe import Recipe


def register(app: typer.Typer) -> None:
    app.command("fit")(fit)


def fit(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A data set's name, a path, or a recipe file (.yaml).")
    ],
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of a table to predict.")
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of a table that holds texts.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of a table that holds the time.")
    ] = None,
    horizon: Annotated[
        str | None, typer.Option(metavar="ROWS", help="Forecast so many rows ahead of each window.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.py:NAME", help="mlp, cnn, or a class of yours.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(metavar="NAME", help="adam, sgd, muon, ...")] = None,
    loss: Annotated[str | None, typer.Option(metavar="NAME", help="cross-entropy, nll, mse, ...")] = None,
    lr: Annotated[str | None, typer.Option(metavar="RATE", help="The learning rate, or 'find'.")] = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", help="Passes over the training part.")] = None,
    batch: Annotated[str | None, typer.Option(metavar="N", help="Examples a batch.")] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="N", help="Decides the split, the weights and the order.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="32, bf16-mixed, fp16-mixed, or auto.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, mps or xpu.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder (default: a new one in runs/).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")
    ] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any recipe entry; repeatable.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="N", help="At most N examples of each part: a quick trial.")
    ] = None,
    overfit: Annotated[
        str | None, typer.Option(metavar="N", help="Learn N examples by heart: can the network learn at all?")
    ] = None,
    no_examine: Annotated[
        bool, typer.Option("--no-examine", help="Do not look for faults before and while it trains.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train even if a fault is proved beforehand.")
    ] = False,
    folds: Annotated[
        str | None,
        typer.Option(metavar="K", help="Cross-validate: train K times, each part of the data tested once."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N", help="Train N times, with other seeds, for the spread of the scores."),
    ] = None,
    processes: ProcessCount = None,
    restarts: Restarts = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Train, validate, test and save a network.

    For example: netwright fit mnist --network cnn --epochs 5 --set network.dropout=0.2
    """
    from netwright.errors import RecipeError
    from netwright.fitting import carry_out
    from netwright.recipe import Recipe, parse_setting
    from netwright.repeats import carry_out_often
    from netwright.run_folder import free_folder
    from netwright.training.distributed import Processes, joined

    with joined(Processes.here()):
        if resume and out is None:
            raise RecipeError("--resume needs --out: which run shall go on? (or: netwright resume RUN)")
        layers = [recipe_layer(source)]
        flags = {
            "data.target": target,
            "text.column": text,
            "data.time": time,
            "series.horizon": horizon,
            "network.name": network,
            "optimizer.name": optimizer,
            "loss.name": loss,
            "optimizer.lr": lr,
            "train.epochs": epochs,
            "data.batch": batch,
            "train.seed": seed,
            "train.precision": precision,
            "train.device": device,
            "data.limit": limit,
            "data.overfit": overfit,
        }
        layers.append({key: value for key, value in flags.items() if value is not None})
        layers.append(dict(parse_setting(setting) for setting in settings or []))
        recipe = Recipe.build(*layers)
        fold_count, seed_count = whole("--folds", folds, least=2), whole("--seeds", seeds, least=2)
        if fold_count is not None or seed_count is not None:
            if processes is not None or restarts is not None:
                raise RecipeError(
                    "--folds and --seeds go with one process: leave out --processes and --restarts"
                )
            summary = carry_out_often(
                recipe,
                folds=fold_count,
                seeds=seed_count,
                out=out,
                resume=resume,
                quiet=quiet,
                examine=not no_examine,
                force=force,
            )
            show_summary(summary, as_json=as_json)
            return 0
        if processes is not None or restarts is not None:
            options = {
                "--resume": resume,
                "--no-examine": no_examine,
                "--force": force,
                "--json": as_json,
                "--quiet": quiet,
            }
            chosen = [name for name, on in options.items() if on]
            with as_file(recipe) as file:
                command = ["fit", file, "--out", str(out or free_folder(recipe)), *chosen]
                code = launched(command, recipe, processes=processes, restarts=restarts)
            if code is not None:
                return code
        run = carry_out(recipe, out=out, resume=resume, quiet=quiet, examine=not no_examine, force=force)
        show(run, as_json=as_json)
        return 0


@contextlib.contextmanager
def as_file(recipe: Recipe) -> Iterator[str]:
    """Writes a recipe where the processes that carry it out can read it."""
    with tempfile.TemporaryDirectory(prefix="netwright-") as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(recipe.to_yaml(), encoding="utf-8")
        yield str(path)


def show_summary(found: dict[str, Any], *, as_json: bool) -> None:
    """Prints what several runs of one recipe came to."""
    if as_json:
        print_json(found)
        return
    from netwright.report.terminal import several

    several(found)


def show(run: Any, *, as_json: bool) -> None:
    """Prints what a finished run came to; of several processes the first does."""
    from netwright.training.distributed import Processes

    if not Processes.here().first:
        return
    result = {**(run.result or {}), "run": str(run.path)}
    if as_json:
        print_json(result)
        return
    from netwright.report.terminal import summary

    summary({**result, "title": run.title, "report": str(run.path / "report.html")})
