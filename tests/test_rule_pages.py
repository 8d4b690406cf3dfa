"""The pages of docs/rules are what the rules say; `pytest --refresh-golden` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from netwright.examine import load_rules
from netwright.report.catalogue import pages, write_pages

FOLDER = Path(__file__).parents[1] / "docs" / "rules"


def test_pages_are_fresh(request: pytest.FixtureRequest) -> None:
    rules = [entry.rule for entry in load_rules()]
    if request.config.getoption("--refresh-golden"):
        write_pages(FOLDER, rules)
    wanted = pages(rules)
    there = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.md")}
    assert sorted(there) == sorted(wanted), "run pytest --refresh-golden tests/test_rule_pages.py"
    for name, text in wanted.items():
        assert there[name] == text, (
            f"docs/rules/{name} is not fresh: run pytest --refresh-golden {Path(__file__).name}"
        )


def test_a_page_has_all_that_the_rule_says() -> None:
    entry = next(entry.rule for entry in load_rules() if entry.rule.code == "NW104")
    page = pages([entry])["NW104.md"]
    assert page.startswith("# NW104 relu-on-logits\n")
    for text in (entry.fix, entry.example, "--allow relu-on-logits", "at the first backward"):
        assert text in page
