"""`netwright inspect SOURCE --augment`: what augmentation makes of the training examples, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, print_json, recipe_layer, say


def register(app: typer.Typer) -> None:
    app.command("inspect")(inspect)


def inspect(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="What fit takes, or a run's folder, whose recipe is taken."),
    ],
    augment: Annotated[
        bool, typer.Option("--augment", help="Draw training examples as the first epochs change them.")
    ] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any recipe entry; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the picture (PNG) is written.")] = Path(
        "augment.png"
    ),
    as_json: AsJson = False,
) -> None:
    """Draw what augmentation does to training examples, before anything is trained.

    For example: netwright inspect photos/ --augment --set augment.flip=true --set augment.randaugment=2
    """
    from netwright.errors import RecipeError
    from netwright.recipe import Recipe, parse_setting
    from netwright.report.augmentation import draw_augmentation
    from netwright.run import RECIPE, load_data

    if not augment:
        raise RecipeError(
            "inspect draws the training examples as they come in each epoch: give --augment, and what is done to them by\n"
            "--set augment.flip=true (shift, rotate, crop, brightness, randaugment, mixup, ...)."
        )
    kept = Path(source) / RECIPE
    recipe = Recipe.build(
        recipe_layer(str(kept) if kept.is_file() else source),
        dict(parse_setting(setting) for setting in settings or []),
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
