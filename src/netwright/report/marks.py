"""Findings as marks on a curve: where each was first seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.report.charts import Event
from netwright.report.letters import cut

COLOURS = {"error": "wrong", "warning": "second"}


@dataclass(frozen=True)
class Mark:
    """The findings that were first seen at one step: (place on the page from 1, finding), the most serious first."""

    step: int
    at: float
    findings: tuple[tuple[int, Mapping[str, Any]], ...]

    @property
    def event(self) -> Event:
        """The mark as a chart draws it; more than one finding is the first one's code and how many more."""
        first, more = self.findings[0][1], len(self.findings) - 1
        label = f"{_code(first)} +{more}" if more else _code(first)
        return Event(self.at, label, COLOURS.get(str(first.get("level")), "ink"))


def marks_of(findings: Sequence[Mapping[str, Any]], per_epoch: float) -> list[Mark]:
    """Returns a mark for each step at which one of `findings`, in the order of the page, was first seen, from left to right.

    `per_epoch`: steps in one unit of the axis, 1 where that is in steps. A finding without a step has no mark.
    """
    by_step: dict[int, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, finding in enumerate(findings, start=1):
        if isinstance(finding.get("step"), int):
            by_step.setdefault(finding["step"], []).append((place, finding))
    return [Mark(step, step / per_epoch, tuple(by_step[step])) for step in sorted(by_step)]


def told(marks: Sequence[Mark]) -> str:
    """Returns the marks as a sentence, for those who do not see them."""
    if not marks:
        return ""
    said = [
        f"{', '.join(_code(finding) for _, finding in mark.findings)} at step {mark.step:,}" for mark in marks
    ]
    return cut(f" Findings first seen: {'; '.join(said)}.", "text")


def rows(marks: Sequence[Mark]) -> list[dict[str, str]]:
    """Returns a line of explanation for each finding that has a mark: code, address on the page, step, headline."""
    return [
        {
            "code": _code(finding),
            "address": f"#finding-{place}",
            "colour": COLOURS.get(str(finding.get("level")), "ink"),
            "text": f"{_when(mark.step)}: {cut(finding.get('title') or finding.get('slug') or '', 'value')}",
        }
        for mark in marks
        for place, finding in mark.findings
    ]


def _when(step: int) -> str:
    return f"step {step:,}" if step else "from the beginning"


def _code(finding: Mapping[str, Any]) -> str:
    return cut(finding.get("code") or finding.get("slug") or "finding", "name")
