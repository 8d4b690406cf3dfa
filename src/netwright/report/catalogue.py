"""The long form of a rule: for `netwright explain`, and as the pages of docs/rules."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from netwright.finding import Rule
from netwright.report.findings import COLOURS, COLUMNS, Line

BY = {
    "source": "before the program runs",
    "forward": "at the first forward or loss",
    "backward": "at the first backward",
    "step": "at the first optimizer step",
    "2": "at the second optimizer step",
    "100": "within 100 optimizer steps or 30 seconds",
    "the step it happens": "at the step at which it happens",
    "the next step": "at the step that follows",
    "epoch": "at the end of the first epoch or evaluation",
    "end": "at the end of the program",
}


def _sections(rule: Rule, slugs: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [
        ("What is wrong", rule.what),
        ("Why it matters", rule.why),
        ("What to do", rule.fix),
        ("Example", rule.example),
        ("What the rule cannot see, and where it is silent", rule.limits),
    ]
    if rule.explains:
        named = ", ".join(f"{code} {slugs.get(code, '')}".strip() for code in sorted(rule.explains))
        found.append(("Findings that are attached to this one as its consequences", named))
    return found


def explanation(rule: Rule, slugs: Mapping[str, str]) -> list[Line]:
    """Returns the lines that `netwright explain` prints; `slugs`: code -> slug of every rule."""
    lines: list[Line] = [
        ((rule.code, COLOURS.get(rule.level, "")), (f" {rule.slug}", "bold")),
        (
            (
                f"at most {rule.level}, found {BY[rule.by]}"
                if rule.level != "advice"
                else f"advice, found {BY[rule.by]}",
                "dim",
            ),
        ),
        (),
        *(((row, "bold"),) for row in textwrap.wrap(_sentence(rule.title), COLUMNS)),
    ]
    for name, text in _sections(rule, slugs):
        lines += [(), ((name, "bold"),)]
        if name == "Example":
            lines += [((f"    {row}".rstrip(), "cyan"),) for row in text.splitlines()]
            continue
        for block in text.split("\n"):
            rows = textwrap.wrap(block, COLUMNS - 2, break_long_words=False, break_on_hyphens=False)
            lines += [((f"  {row}", ""),) for row in rows]
    lines += [(), (("Silence it", "bold"),), ((f"  netwright examine --allow {rule.slug} SCRIPT", ""),)]
    lines += [((f"  or a comment on the line: # netwright: allow {rule.slug}", ""),)]
    return lines


def rule_page(rule: Rule, slugs: Mapping[str, str]) -> str:
    """Returns the page of a rule in Markdown."""
    parts = [
        f"# {rule.code} {rule.slug}",
        f"**{_sentence(rule.title)}.**",
        f"Level: {rule.level}. Found {BY[rule.by]}.",
    ]
    for name, text in _sections(rule, slugs):
        shown = f"```python\n{text}\n```" if name == "Example" else _escaped(text)
        if name.startswith("Findings"):
            shown = ", ".join(
                f"[{code} {slugs.get(code, '')}]({code}.md)" if code in slugs else code
                for code in sorted(rule.explains)
            )
        parts += [f"## {name}", shown]
    parts += [
        "## Silence it",
        f"`--allow {rule.slug}`, or the comment `# netwright: allow {rule.slug}` on the line.",
    ]
    return "\n\n".join(parts) + "\n"


def index_page(rules: Sequence[Rule]) -> str:
    """Returns the page that lists all rules."""
    rows = [
        f"| [{rule.code}]({rule.code}.md) | {rule.slug} | {rule.level} | {_sentence(rule.title).replace('|', '/')} |"
        for rule in rules
    ]
    return "\n".join(
        [
            "# The examiner's rules",
            "",
            "Written from the rules themselves; `netwright explain CODE` prints the same.",
            "",
            "| code | name | level | what it finds |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def pages(rules: Sequence[Rule]) -> dict[str, str]:
    """Returns all pages of docs/rules: name of the file -> its text."""
    slugs = {rule.code: rule.slug for rule in rules}
    return {"README.md": index_page(rules)} | {f"{rule.code}.md": rule_page(rule, slugs) for rule in rules}


def write_pages(folder: Path, rules: Sequence[Rule]) -> None:
    """Writes all pages and deletes those of rules that are no more."""
    wanted = pages(rules)
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def _sentence(title: str) -> str:
    return title[:1].upper() + title[1:]


def _escaped(text: str) -> str:
    for sign in ("*", "_", "<"):
        text = text.replace(sign, "\\" + sign)
    return text
