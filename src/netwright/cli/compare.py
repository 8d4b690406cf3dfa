"""`netwright compare SOURCE`: the same network with other choices, and which differences are larger than the noise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.arguments import AsJson, Quiet, print_json, recipe_layer, say, whole


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A data set's name, a path, or a recipe file (.yaml).")
    ],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B,...",
            help="What to vary: activation, optimizer, loss, lr, ... or any recipe entry. Repeated: every combination.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="N", help="Train every variant with N seeds.")] = "3",
    search: Annotated[
        str | None,
        typer.Option(metavar="N", help="Search: try N settings of what is varied; lr=1e-4..1e-1 is a range."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of a table to predict.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(metavar="NAME|FILE.py:NAME", help="mlp, cnn, or a class of yours.")
    ] = None,
    epochs: Annotated[str | None, typer.Option(metavar="N", help="Passes over the training part.")] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="N", help="At most N examples of each part: a quick trial.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any recipe entry; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The comparison's folder (default: in comparisons/).")
    ] = None,
    no_prune: Annotated[
        bool, typer.Option("--no-prune", help="Train also what is hopeless, to its end.")
    ] = False,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Trials at a time (default: one a core).")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Compare choices: train every variant with several seeds, and say which differences are larger than the noise.

    Without --vary: seven activations, the losses and seven optimizers, each varied alone. The same command goes on with a
    comparison that was cut off. For example: netwright compare digits --vary activation=relu,tanh --vary optimizer=adam,sgd
    """
    from netwright.comparing.comparison import Asked
    from netwright.comparing.comparison import compare as carry_out
    from netwright.recipe import parse_setting
    from netwright.report.comparison import show_comparison, write_comparison

    flags = {"data.target": target, "network.name": network, "train.epochs": epochs, "data.limit": limit}
    chosen = {key: value for key, value in flags.items() if value is not None}
    layers: list[Mapping[str, Any]] = [
        recipe_layer(source),
        chosen,
        dict(parse_setting(setting) for setting in settings or []),
    ]
    count = whole("--seeds", seeds, least=1)
    assert count is not None
    asked = Asked(
        vary=tuple(vary or ()),
        seeds=count,
        search=whole("--search", search, least=1),
        prune=not no_prune,
        workers=whole("--workers", workers, least=1),
        given=given_by(layers),
    )
    result = carry_out(layers, asked, out=out, say=(lambda text: None) if quiet else say)
    page = write_comparison(Path(result["comparison"]), result)
    if as_json:
        print_json(result)
    else:
        show_comparison(result, page=page)
    return 1 if all(row["state"] == "failed" for row in result["rows"]) else 0


def given_by(layers: list[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the entries, dotted, that a recipe's layers name."""
    found: list[str] = []
    for layer in layers:
        for key, value in layer.items():
            found += [f"{key}.{entry}" for entry in value] if isinstance(value, Mapping) else [key]
    return tuple(found)
