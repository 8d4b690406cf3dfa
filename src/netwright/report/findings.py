"""What the examiner found, on the terminal and on a page of its own.

Takes the plain dictionary of the examiner's JSON (`Examination.to_dict`) and, for what is not in it, two more things:

rules: code -> {`slug`, `title`}: names of rules that found nothing, or could not judge.
line_of: (file, line) -> that line of the user's source, "" where it cannot be read.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from netwright.report import figures

COLUMNS = 80
CELL_AT_MOST = 34  # of the table of figures
NAMES_AT_MOST = 12  # of rules that were not run for one reason
COLOURS = {"error": "bold red", "warning": "bold yellow", "advice": "bold cyan"}

Line = tuple[tuple[str, str], ...]  # (text, style) pieces of one line
LineOf = Callable[[str, int], str]


def print_findings(
    examination: Mapping[str, Any],
    *,
    rules: Mapping[str, Mapping[str, str]],
    line_of: LineOf | None = None,
    stream: TextIO | None = None,
) -> None:
    """Prints the report; the text is the same with and without colour. `stream`: None is standard error."""
    print_lines(lines(examination, rules=rules, line_of=line_of or _no_line), stream=stream or sys.stderr)


def print_lines(lines: Iterable[Line], *, stream: TextIO) -> None:
    """Prints lines as they are, in colour where the stream is a terminal and NO_COLOR is not set."""
    import rich.text

    from netwright.report.terminal import console_on

    console = console_on(stream)
    for line in lines:
        text = rich.text.Text()
        for piece, style in line:
            text.append(figures.printable(piece), style)
        # Source and changes are to be copied: what is longer than the terminal is not broken here.
        console.print(text, soft_wrap=True)


def lines(
    examination: Mapping[str, Any],
    *,
    rules: Mapping[str, Mapping[str, str]],
    line_of: LineOf,
) -> Iterator[Line]:
    """Yields the lines of the report."""
    attached = {entry["code"]: entry for entry in examination.get("attached") or []}
    yield ()
    yield from _paragraph(
        f"netwright examined {examination['script']}: {_how_far(examination)}", style="bold", indent=0
    )
    yield ()
    if examination.get("crash"):
        yield from _crash(examination["crash"], line_of)
    for finding in examination["findings"]:
        yield from _finding(finding, attached, rules, line_of)
    yield from _end(examination, rules)


def _no_line(file: str, line: int) -> str:
    return ""


def _how_far(examination: Mapping[str, Any]) -> str:
    steps = examination["steps"]
    text = (
        f"{steps:,} optimizer step{'' if steps == 1 else 's'} in {figures.duration(examination['seconds'])}"
    )
    ended, code = examination.get("ended"), examination["script_exit"]
    if ended == "stopped":
        return text + ", then stopped as asked"
    if ended == "signal":
        return text + ", then ended by a signal"
    return text + (f"; the script's own exit code is {code}" if code else "")


# ---- one finding ----


def _finding(
    finding: Mapping[str, Any],
    attached: Mapping[str, Mapping[str, Any]],
    rules: Mapping[str, Mapping[str, str]],
    line_of: LineOf,
) -> Iterator[Line]:
    yield from _headline(
        f"{finding['level']}[{finding['code']}]", finding["title"], COLOURS.get(finding["level"], "")
    )
    yield from _place(finding, line_of, also=_where_from(finding))
    yield from _figures(finding.get("seen") or {}, finding.get("expected") or {})
    yield from _paragraph(finding["why"], "Why: ")
    yield ()
    yield from _paragraph(finding["fix"], "Change: ")
    yield from _diff(finding.get("diff") or "")
    yield ()
    yield from _paragraph(_how_sure(finding), style="dim")
    yield from _paragraph(f"More: netwright explain {finding['code']}", style="dim")
    yield from _paragraph(_silenced(finding), style="dim")
    explained = finding.get("consequences") or []
    if explained:
        yield ()
        yield from _paragraph("It explains these, which need no mending of their own:")
        for code in explained:
            yield from _consequence(code, attached.get(code), rules.get(code) or {})
    yield ()


def _headline(label: str, title: str, colour: str) -> Iterator[Line]:
    rows = textwrap.wrap(f"{label}: {title}", COLUMNS, break_long_words=False, break_on_hyphens=False)
    yield ((rows[0][: len(label)], colour), (rows[0][len(label) :], "bold"))
    yield from (((row, "bold"),) for row in rows[1:])


def _where_from(finding: Mapping[str, Any]) -> str:
    parts = [f"layer {finding['layer']}"] if finding.get("layer") else []
    if finding.get("step") is not None:
        parts.append(f"since step {finding['step']}")
    return ", ".join(parts)


def _place(where: Mapping[str, Any], line_of: LineOf, *, also: str) -> Iterator[Line]:
    """The line of the user's code in the manner of rustc."""
    number = where.get("line") or 0
    gutter = " " * len(str(number or " "))
    if not where.get("file"):
        if also:
            yield ((f"  {also}", "dim"),)
        yield ()
        return
    address = f"{where['file']}:{number}" if number else where["file"]
    yield ((f"{gutter}--> ", "blue"), (address, ""), (f", {also}" if also else "", "dim"))
    source = line_of(where["file"], number).rstrip() if number else ""
    if source:
        yield ((f"{gutter} |", "blue"),)
        yield ((f"{number} | ", "blue"), (_short(source), ""))
        yield ((f"{gutter} |", "blue"),)
    if where.get("also"):
        shown = ", ".join(where["also"][:5])
        more = len(where["also"]) - 5
        yield from _paragraph(f"Also at {shown}{f' and {more} more' if more > 0 else ''}.", style="dim")
    yield ()


def _short(source: str) -> str:
    source = source.expandtabs(4)
    return source if len(source) <= COLUMNS - 8 else source[: COLUMNS - 9] + "…"


def _figures(seen: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[Line]:
    """Seen against expected, aligned."""
    keys = list(dict.fromkeys([*seen, *expected]))
    if not keys:
        return
    rows = [("", "seen", "expected")]
    rows += [
        (key.replace("_", " "), _shown(key, seen.get(key)), _shown(key, expected.get(key))) for key in keys
    ]
    name, left = (min(max(len(row[column]) for row in rows), CELL_AT_MOST) for column in (0, 1))
    right = COLUMNS - 2 - name - 2 - left - 2
    for number, row in enumerate(rows):
        cells = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, (name, left, right))]
        for part in range(max(map(len, cells))):
            first, second, third = (cell[part] if part < len(cell) else "" for cell in cells)
            text = f"  {first:<{name}}  {second:<{left}}  {third}".rstrip()
            yield ((text, "dim"),) if number == 0 else ((text[: 2 + name], ""), (text[2 + name :], "bold"))
    yield ()


def _shown(key: str, value: Any) -> str:
    """Returns a figure as people read it.

    >>> _shown("dead_share", 0.4789), _shown("loss", 2.302585), _shown("shape", [64, 10]), _shown("steps", 12000)
    ('47.9 %', '2.303', '(64, 10)', '12000')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if key.endswith("share") and 0 <= value <= 1:
            return f"{100 * value:.3g} %"
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_shown(str(name), entry)}" for name, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        numbers = all(isinstance(entry, int) for entry in value)
        text = ", ".join(_shown(key, entry) for entry in value)
        return f"({text})" if numbers else text
    return str(value)


def _paragraph(text: str, label: str = "", *, style: str = "", indent: int = 2) -> Iterator[Line]:
    space = " " * indent
    for number, block in enumerate(f"{label}{text}".split("\n")):
        rows = textwrap.wrap(
            block, COLUMNS, initial_indent=space, subsequent_indent=space,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        for place, row in enumerate(rows):
            if label and number == 0 and place == 0:
                yield ((space + label, "bold"), (row[len(space + label) :], style))
            else:
                yield ((row, style),)


def _diff(diff: str) -> Iterator[Line]:
    hunks = 0
    for row in diff.splitlines():
        if row.startswith(("--- ", "+++ ")):
            continue
        if row.startswith("@@"):
            hunks += 1
            if hunks > 1:
                yield (("    …", "dim"),)
            continue
        colour = "green" if row.startswith("+") else "red" if row.startswith("-") else ""
        yield (((f"    {row}").rstrip(), colour),)


def _how_sure(finding: Mapping[str, Any]) -> str:
    sure = finding.get("sure") or {}
    return (
        f"How sure: what was seen is {sure.get('fact', 'likely')}, the harm is {sure.get('harm', 'likely')}."
    )


def _silenced(finding: Mapping[str, Any]) -> str:
    slug = finding["slug"]
    comment = f"\nor at the end of that line: # netwright: allow {slug}" if finding.get("line") else ""
    return f"Silence it: --allow {slug}{comment}"


def _consequence(code: str, known: Mapping[str, Any] | None, rule: Mapping[str, str]) -> Iterator[Line]:
    told = known or rule
    place = ""
    if known:
        where = [f"{known['file']}:{known['line']}"] if known.get("file") else []
        place = ", ".join([*where, *([_where_from(known)] if _where_from(known) else [])])
    text = f"{code}: {told.get('title') or told.get('slug') or ''}" + (f" ({place})" if place else "")
    rows = textwrap.wrap(
        text, COLUMNS, initial_indent="    ", subsequent_indent="      ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    yield from (((row, ""),) for row in rows)


# ---- how the program failed ----


def _crash(crash: Mapping[str, Any], line_of: LineOf) -> Iterator[Line]:
    message = " ".join(str(crash["message"]).split()) or "no message"
    yield from _headline(
        f"the script raised {crash['kind']}", textwrap.shorten(message, 300), COLOURS["error"]
    )
    yield from _place(crash, line_of, also=f"in layer {crash['layer']}" if crash.get("layer") else "")
    known = moment_of(crash)
    if known:
        yield from _paragraph(known)
        yield ()


def moment_of(crash: Mapping[str, Any]) -> str:
    """Returns in words what was running when a script failed, "" if that is not known.

    >>> moment_of({"layer": "head", "layer_class": "Linear", "config": {"in_features": 100}, "received": [[64, 784]]})
    'The innermost layer that was running, head, is a Linear with in_features=100; it had received a tensor of shape (64, 784).'
    """
    if not crash.get("layer_class"):
        return ""
    name = f", {crash['layer']}," if crash.get("layer") else ""
    config = ", ".join(f"{key}={value!r}" for key, value in list((crash.get("config") or {}).items())[:8])
    text = f"The innermost layer that was running{name} is a {crash['layer_class']}" + (
        f" with {config}" if config else ""
    )
    text += f", built at {crash['built']}" if crash.get("built") else ""
    shapes = [_shown("shape", shape) or "()" for shape in crash.get("received") or []]
    if not shapes:
        return text + "."
    what = f"a tensor of shape {shapes[0]}" if len(shapes) == 1 else f"tensors of shapes {', '.join(shapes)}"
    return f"{text}; it had received {what}."


# ---- the end ----


def _end(examination: Mapping[str, Any], rules: Mapping[str, Mapping[str, str]]) -> Iterator[Line]:
    run, not_run = examination["rules"]["run"], examination["rules"]["not_run"]
    silenced = examination["rules"].get("silenced") or []
    if run and not examination["findings"] and not silenced:
        yield from _paragraph(_nothing_found(len(run)), indent=0)
    for note in examination.get("notes") or []:
        yield from _paragraph(note, "Note: ", indent=0)
    for code in silenced:
        yield from _paragraph(_named(code, rules), "Silenced, though it was found: ", indent=0)
    counts = counted(examination["findings"])
    colour = next((COLOURS[level] for level, count in counts if count), "bold")
    text = ", ".join(f"{count} {_plural(level, count)}" for level, count in counts)
    yield ((text, colour), (f"; {len(run)} rules run, {len(not_run)} not run", ""))
    yield from _not_checked(examination, rules)


def _nothing_found(rules: int) -> str:
    return f"None of the {rules} rules that could judge found a fault. That is no proof that there is none."


def counted(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Returns how many findings of each level there are, the most serious first."""
    return [
        (level, sum(entry["level"] == level for entry in findings))
        for level in ("error", "warning", "advice")
    ]


def _plural(level: str, count: int) -> str:
    return level if count == 1 or level == "advice" else f"{level}s"


def _not_checked(examination: Mapping[str, Any], rules: Mapping[str, Mapping[str, str]]) -> Iterator[Line]:
    reasons = unchecked(examination, rules)
    if reasons:
        yield from _paragraph("Not checked:", indent=0)
    for why, names in reasons:
        rows = textwrap.wrap(
            f"{why}: {', '.join(names)}", COLUMNS, initial_indent="  ", subsequent_indent="    ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        for row in rows:
            yield ((row, "dim"),)


def unchecked(
    examination: Mapping[str, Any], rules: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, list[str]]]:
    """Returns why rules could not judge, and which these are, the most frequent reason first."""
    groups: dict[str, list[str]] = {}
    run, short = examination["rules"]["run"], examination["rules"].get("cut_short") or []
    for entry in examination["rules"]["not_run"]:
        if entry["code"] not in short or not run:
            groups.setdefault(entry["why"], []).append(entry["code"])
    if short and run:
        groups["needs a whole epoch or an evaluation, and the script ended before"] = list(short)
    found = []
    for why, codes in sorted(groups.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        names = [_named(code, rules) for code in codes]
        if len(names) > NAMES_AT_MOST:
            everyone = not examination["rules"]["run"]
            names = [f"all {len(codes)} rules" if everyone else ", ".join(codes)]
        found.append((why, names))
    return found


def _named(code: str, rules: Mapping[str, Mapping[str, str]]) -> str:
    return f"{code} {(rules.get(code) or {}).get('slug', '')}".strip()


# ---- the page ----


def write_findings(
    path: str | os.PathLike[str],
    examination: Mapping[str, Any],
    *,
    rules: Mapping[str, Mapping[str, str]],
    line_of: LineOf | None = None,
) -> Path:
    """Writes the report as one self-contained page and returns its path; RunFolderError where it cannot be written."""
    from netwright.report.html import write_page

    return write_page(path, render_findings(examination, rules=rules, line_of=line_of))


def render_findings(
    examination: Mapping[str, Any],
    *,
    rules: Mapping[str, Mapping[str, str]],
    line_of: LineOf | None = None,
) -> str:
    """Returns the page as HTML."""
    from netwright.report.html import finding_rows, page_templates, short_texts

    attached = {entry["code"]: entry for entry in examination.get("attached") or []}
    findings = [
        {
            **entry,
            "source": (line_of or _no_line)(entry["file"], entry["line"]).strip()
            if entry.get("file")
            else "",
            "consequences": [
                f"{code} ({(attached.get(code) or rules.get(code) or {}).get('title', '')})"
                for code in entry.get("consequences") or []
            ],
            **{
                side: {
                    key.replace("_", " "): _shown(key, value)
                    for key, value in (entry.get(side) or {}).items()
                }
                for side in ("seen", "expected")
            },
            "silence": _silenced(entry).replace("\n", ", "),
        }
        for entry in examination["findings"]
    ]
    crash = examination.get("crash")
    return page_templates().get_template("findings.html.jinja").render(
        title=Path(str(examination["script"])).name or "A block of Python",
        counts=[(level, count, _plural(level, count)) for level, count in counted(findings)],
        facts=_facts(examination),
        crash=None if not crash else short_texts([
            f"{crash['kind']}: {crash['message']}",
            " · ".join(filter(None, [f"{crash['file']}:{crash['line']}" if crash.get("file") else "", moment_of(crash)])),
        ]),
        findings=finding_rows(findings),
        nothing_found=_nothing_found(len(examination["rules"]["run"])) if examination["rules"]["run"] else "",
        notes=short_texts(
            [
                *(examination.get("notes") or []),
                *(f"Silenced, though it was found: {_named(code, rules)}" for code in examination["rules"].get("silenced") or []),
            ]
        ),
        unchecked=[(short_texts([why])[0], ", ".join(names)) for why, names in unchecked(examination, rules)],
    )  # fmt: skip


def _facts(examination: Mapping[str, Any]) -> list[tuple[str, str]]:
    ends = {"stopped": "stopped as asked", "signal": "by a signal", "crash": "with an exception"}
    return [
        ("Optimizer steps", f"{examination['steps']:,}"),
        ("Time", figures.duration(examination["seconds"])),
        ("Ended", ends.get(str(examination.get("ended")), "by itself")),
        ("Its exit code", str(examination["script_exit"])),
        ("Rules run", str(len(examination["rules"]["run"]))),
        ("Rules not run", str(len(examination["rules"]["not_run"]))),
    ]
