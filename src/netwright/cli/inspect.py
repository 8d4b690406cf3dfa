"""`netwright inspect RUN|file.py:Name`: a network layer by layer; with `--augment`, what augmentation makes of the training examples."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.arguments import AsJson, print_json, recipe_layer, say


def register(app: typer.Typer) -> None:
    app.command("inspect")(inspect)


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|file.py:Name",
            help="A run's folder, or a network in a file. With --augment, what fit takes.",
        ),
    ],
    example: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The example to follow (default: the first of the test part)."),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="SHAPE",
            help="With file.py:Name: random values of this shape, such as 1x28x28.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write everything as one page.")] = None,
    diagram: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the diagram: .svg, .mmd (Mermaid) or .dot (Graphviz)."),
    ] = None,
    augment: Annotated[
        bool, typer.Option("--augment", help="Draw training examples as the first epochs change them.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="With file.py:Name: network.ARGUMENT=VALUE. With --augment: any recipe entry.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --augment: the picture (default: augment.png).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a network is, layer by layer, and follow a real example through it and back.

    For example: netwright inspect runs/digits-mlp-1 --html tour.html
    """
    if augment:
        _refuse({"--example": example, "--input": shape, "--html": html, "--diagram": diagram}, "--augment")
        _draw_augmentation(source, settings or [], out or Path("augment.png"), as_json=as_json)
        return
    _refuse({"--out": out}, "inspect without --augment", instead=": --html FILE or --diagram FILE")
    from netwright.explain.diagram import check_ending
    from netwright.inspecting import inspect_source

    if diagram is not None:
        check_ending(diagram.suffix)
    found = inspect_source(source, example=example, shape=shape, options=_options(settings or []))
    written = {}
    if diagram is not None:
        diagram.write_text(found.diagram.text(diagram.suffix), encoding="utf-8")
        written["diagram"] = str(diagram)
    if html is not None:
        written["html"] = str(found.html(html))
    if as_json:
        print_json({**found.to_dict(), **written})
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal's encoding that lacks × or ▅ must not end in a traceback.
        sys.stdout.reconfigure(errors="replace")
    print(found)
    for path in written.values():
        say(f"wrote {path}")


def _refuse(options: dict[str, Any], where: str, *, instead: str = "") -> None:
    from netwright.errors import RecipeError

    for name, value in options.items():
        if value is not None:
            raise RecipeError(f"{name} does not go with {where}{instead}")


def _options(settings: list[str]) -> dict[str, Any]:
    """Returns the arguments of a class in `network.ARGUMENT=VALUE`."""
    if not settings:
        return {}
    from netwright.errors import RecipeError
    from netwright.recipe import parse_setting

    entries = dict(parse_setting(setting) for setting in settings)
    foreign = [key for key in entries if not key.startswith("network.")]
    if foreign:
        raise RecipeError(
            f"--set {foreign[0]} changes nothing here: inspect takes network.ARGUMENT=VALUE, the arguments of the class"
        )
    return {key.removeprefix("network."): value for key, value in entries.items()}


def _draw_augmentation(source: str, settings: list[str], out: Path, *, as_json: bool) -> None:
    from netwright.errors import RecipeError
    from netwright.recipe import Recipe, parse_setting
    from netwright.report.augmentation import draw_augmentation
    from netwright.run import load_data
    from netwright.run_files import RECIPE

    kept = Path(source) / RECIPE
    recipe = Recipe.build(
        recipe_layer(str(kept) if kept.is_file() else source),
        dict(parse_setting(setting) for setting in settings),
    )
    data = load_data(recipe)
    changed = data.with_augmentation(recipe.augment.model_dump(exclude_defaults=True))
    done = [note for note in changed.notes if note not in data.notes]
    if not done:
        raise RecipeError(
            f"nothing changes the training examples of {data.name}: the recipe's section augment is empty.\n"
            "Give for example --set augment.shift=2 --set augment.rotate=10."
        )
    count = draw_augmentation(changed, out, seed=recipe.train.seed)
    for note in done:
        say(note)
    if as_json:
        print_json({"picture": str(out), "examples": count, "augment": done})
    else:
        print(out)
