"""The page on which a network can be tried, and the one that says what can be asked: each one file, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from netwright.shipping.card import Card
from netwright.shipping.server.intake import Images, Intake, Rows, Series, Sounds, Texts, typical

HERE = Path(__file__).parent
# A picture with sides of at most so many pixels is drawn by hand; a larger one would take an artist.
DRAWN_AT_MOST = 64
# How the drawings of a set were brought to their size: the share of a side that the longer side of the ink takes, and what
# lies in the middle. MNIST: yann.lecun.com/exdb/mnist ("size normalized to fit in a 20x20 pixel box", "center of mass");
# digits: Alpaydin and Kaynak, UCI 1998 (32 x 32 bitmaps filled by the digit, in blocks of 4 x 4).
FITTED = {"mnist": (20 / 28, "mass"), "digits": (1.0, "box")}


def page(card: Card, intake: Intake, facts: dict[str, Any]) -> str:
    """Returns the page that suits the data."""
    settings = _settings(card, intake)
    return _template("page").render(
        card=card,
        facts=facts,
        kind=settings["kind"],
        settings=settings,
        fields=_fields(intake),
        tested=_tested(facts["test"]),
        css=_text("page.css"),
        # In a script "</" would end it, whatever stands around it.
        script=Markup(f"const SETTINGS = {_for_script(settings)};\n{_text('page.js')}"),
    )


def docs_page(facts: dict[str, Any], openapi: dict[str, Any], media: str, address: str) -> str:
    """Returns the page of what can be asked, without a script."""
    operation = openapi["paths"]["/predict"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["example"]
    shown = json.dumps(example, ensure_ascii=False)
    return _template("docs").render(
        facts=facts,
        openapi=openapi,
        media=media,
        address=address,
        files=[name for name in operation["requestBody"]["content"] if name != "application/json"],
        example=shown if len(shown) < 600 else shown[:300] + " … " + shown[-60:],
        answers=operation["responses"],
        css=_text("page.css"),
    )


def content_security_policy(html: str) -> str:
    """Returns the policy under which a page may do what its own script and style say, ask this server, and nothing else."""
    scripts = " ".join(_hash(text) for text in re.findall(r"<script>(.*?)</script>", html, re.DOTALL))
    return (
        f"default-src 'none'; script-src {scripts or chr(39) + 'none' + chr(39)}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data: blob:; media-src blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _settings(card: Card, intake: Intake) -> dict[str, Any]:
    """Returns what the page's script needs to know."""
    settings: dict[str, Any] = {
        "kind": _kind(intake),
        "classes": None if card.classes is None else list(card.classes),
    }
    if isinstance(intake, Images):
        settings |= _drawing(card, intake)
        settings |= {"files": intake.from_files, "height": intake.shape[1], "width": intake.shape[2]}
    if isinstance(intake, Sounds):
        settings["seconds"] = intake.preparation.seconds
    if isinstance(intake, Rows):
        settings["booleans"] = [column.name for column in intake.used() if column.kind == "boolean"]
    if isinstance(intake, Series):
        settings["columns"] = list(intake.preparation.columns)
    return settings


def _kind(intake: Intake) -> str:
    if isinstance(intake, Images):
        channels, height, width = intake.shape
        drawn = channels == 1 and max(height, width) <= DRAWN_AT_MOST and intake.highest is not None
        return "draw" if drawn else "picture" if intake.from_files else "numbers"
    named = {Rows: "row", Texts: "text", Sounds: "sound", Series: "series"}
    return named.get(type(intake), "numbers")


def _drawing(card: Card, intake: Images) -> dict[str, Any]:
    highest = intake.highest or 255
    # Ink is what most of a picture is not.
    dark = float(intake.preparation.mean_colour.mean()) < highest / 2
    share, middle = FITTED.get(card.name, (None, None))
    return {
        "highest": highest,
        "ink": highest if dark else 0,
        "paper": 0 if dark else highest,
        "fitted": share,
        "middle": middle,
    }


def _fields(intake: Intake) -> list[dict[str, Any]]:
    """Returns what a form has for each column of a table, or what a field begins with."""
    if isinstance(intake, Rows):
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "categories": list(column.categories),
                "value": typical(intake.preparation, column),
                "format": column.format,
            }
            for column in intake.used()
        ]
    if isinstance(intake, Series):
        header = ",".join(map(_cell, intake.preparation.columns))
        row = ",".join(f"{float(mean):.4g}" for mean in intake.preparation.mean)
        return [{"value": "\n".join([header, *[row] * intake.shape[0]])}]
    if not isinstance(intake, Images | Texts | Sounds):
        return [{"value": ", ".join(f"{float(mean):.4g}" for mean in _middle(intake.preparation))}]
    return []


def _middle(preparation: Any) -> Any:
    return (preparation.mean * preparation.scale).expand(preparation.shape).flatten()


def _cell(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _tested(test: dict[str, Any] | None) -> str | None:
    """Returns the test score in words."""
    if not test:
        return None
    if "accuracy" in test:
        low, high = test.get("interval") or (None, None)
        between = "" if low is None else f" ({low:.1%} to {high:.1%})"
        return f"{test['accuracy']:.1%}{between} right on its test set"
    return f"RMSE {test['rmse']:.4g} on its test set" if "rmse" in test else None


def _for_script(value: Any) -> str:
    """Returns JSON that can stand in a script: no sign in it ends that, whatever stands in a class's name."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{name}.html.jinja")


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
