"""`netwright explain CODE|NAME`: what a rule of the examiner looks for, and what to do about it."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from netwright.cli.arguments import AsJson, print_json


def register(app: typer.Typer) -> None:
    app.command("explain")(explain)


def explain(
    rule: Annotated[
        str | None,
        typer.Argument(
            metavar="[CODE|NAME]", help="NW104, relu-on-logits; none: a list of all.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain a rule of the examiner: what it sees, why it matters, what to do, what it cannot see.

    For example: netwright explain NW104
    """
    from netwright.examine import find_rule, load_rules

    rules = [entry.rule for entry in load_rules()]
    if rule is None:
        if as_json:
            print_json(
                [
                    {"code": one.code, "slug": one.slug, "level": one.level, "title": one.title}
                    for one in rules
                ]
            )
            return
        width = max(len(one.slug) for one in rules)
        for one in rules:
            print(f"{one.code}  {one.slug:<{width}}  {one.level}")
        return
    found = find_rule(rule).rule
    if as_json:
        print_json(dataclasses.asdict(found) | {"explains": sorted(found.explains)})
        return
    from netwright.report.catalogue import explanation
    from netwright.report.findings import print_lines

    print_lines(explanation(found, {one.code: one.slug for one in rules}), stream=sys.stdout)
