"""Runs the rules over an observation as the moments come, and says each cause once."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from netwright.examine.observation import Observation
from netwright.examine.rules import NotObserved, RuleFile, broken_rules, load_rules, unknown_rule
from netwright.finding import LEVELS, MOMENTS, Evidence, Finding

#: Reported beside no other error or warning: that the loss stays at chance has a cause, and any of them may be it.
_LAST = frozenset({"NW512"})
_ALLOW = re.compile(r"#\s*netwright:\s*allow\s+([\w\-, ]+)")


class Judge:
    """Holds the rules and what they have found so far."""

    def __init__(self, *, allow: Iterable[str] = (), rules: list[RuleFile] | None = None) -> None:
        self.rules = load_rules() if rules is None else rules
        self.allow = _known(allow, self.rules)
        self.reports: dict[
            str, list[tuple[Evidence, str]]
        ] = {}  # code -> what was seen, and the moment it came out
        self.not_run: dict[str, str] = {} if rules is not None else broken_rules()
        self.silenced: set[str] = set()  # codes of what was found and is not reported, because it was allowed
        self.seconds: dict[str, float] = {}  # code -> when its first report came out
        self.attached: list[Finding] = []  # consequences, as far as `findings` put them below their causes

    def moment(self, name: str, observation: Observation) -> list[Finding]:
        """Runs the rules that are due at a moment and returns the findings that are new, consequences included."""
        number = MOMENTS.index(name)
        fresh: list[Finding] = []
        for entry in self.rules:
            by = MOMENTS.index(entry.rule.by)
            # A rule runs at its own moment and at the later ones of these three: faults may come late.
            again = name in ("2", "100") or (name == "the step it happens" and entry.rule.by == "forward")
            if name == "end" or by == number or (again and by < number):
                fresh.extend(self._run(entry, name, observation))
        return fresh

    def _run(self, entry: RuleFile, name: str, observation: Observation) -> list[Finding]:
        code = entry.rule.code
        fresh: list[Finding] = []
        self.not_run.pop(code, None)
        try:
            for evidence in entry.check(observation):
                known = self.reports.setdefault(code, [])
                same = any(_same(evidence, other) for other, _ in known)
                if not same and self._allowed(entry, evidence):
                    self.silenced.add(code)
                elif not same:
                    known.append((evidence, name))
                    self.seconds.setdefault(code, round(observation.seconds, 3))
                    fresh.append(_finding(entry, evidence, name))
        except NotObserved as reason:
            self.not_run[code] = str(reason)
        except Exception as error:
            self.not_run[code] = f"the rule failed: {type(error).__name__}: {error}"[:300]
        return fresh

    def _allowed(self, entry: RuleFile, evidence: Evidence) -> bool:
        names = {entry.rule.slug, entry.rule.code.lower()}
        if names & self.allow:
            return True
        line = linecache.getline(evidence.file, evidence.line) if evidence.file else ""
        comment = _ALLOW.search(line)
        return comment is not None and bool(names & set(re.split(r"[,\s]+", comment.group(1).lower())))

    def findings(self, observation: Observation) -> list[Finding]:
        """Returns what was found, one finding for each cause, the most serious first."""
        rules = {entry.rule.code: entry for entry in self.rules}
        found = [
            replace(_merged(rules[code], reports), seconds=self.seconds.get(code, 0.0))
            for code, reports in self.reports.items()
            if reports and code in rules
        ]
        serious = {finding.code for finding in found if finding.level != "advice"}
        kept = _attach(
            found,
            {
                code: entry.rule.explains | (_LAST if code in serious else set())
                for code, entry in rules.items()
            },
        )
        codes = {finding.code for finding in kept}
        self.attached = [finding for finding in found if finding.code not in codes]
        return sorted(kept, key=lambda finding: (LEVELS.index(finding.level), finding.step, finding.code))

    def ran(self) -> list[str]:
        """Returns the codes of the rules that could judge."""
        return sorted(entry.rule.code for entry in self.rules if entry.rule.code not in self.not_run)


def _known(allow: Iterable[str], rules: list[RuleFile]) -> set[str]:
    slugs = {entry.rule.slug for entry in rules}
    codes = {entry.rule.code.lower() for entry in rules}
    wanted = [name.strip() for name in allow]
    for name in wanted:
        if name.lower() not in slugs | codes:
            raise unknown_rule(name, (entry.rule for entry in rules))
    return {name.lower() for name in wanted}


def _same(one: Evidence, other: Evidence) -> bool:
    """Returns whether two pieces of evidence show the same fault: on the same line, or of the same layer."""
    if one.file and other.file:
        return (one.file, one.line) == (other.file, other.line)
    return one.layer == other.layer


def _finding(entry: RuleFile, evidence: Evidence, moment: str) -> Finding:
    rule = entry.rule
    return Finding(
        code=rule.code,
        slug=rule.slug,
        level=evidence.level or rule.level,
        title=evidence.title or rule.title,
        file=evidence.file,
        line=evidence.line,
        layer=evidence.layer,
        step=evidence.step,
        seen=evidence.seen,
        expected=evidence.expected,
        why=evidence.why or rule.why,
        fix=evidence.fix or rule.fix,
        diff=evidence.diff,
        sure={"fact": evidence.fact, "harm": evidence.harm},
        moment=moment,
        also=evidence.also,
    )


def _merged(entry: RuleFile, reports: list[tuple[Evidence, str]]) -> Finding:
    """One finding of all that a rule saw: the first, with the lines of the others."""
    serious = min(reports, key=lambda report: LEVELS.index(report[0].level or entry.rule.level))
    first = serious[0]
    others = [f"{other.file}:{other.line}" for other, _ in reports if other is not first and other.file]
    also = dict.fromkeys([*first.also, *others])
    also.pop(f"{first.file}:{first.line}", None)
    return replace(_finding(entry, *serious), also=tuple(also))


def _attach(found: list[Finding], explains: dict[str, Any]) -> list[Finding]:
    """Moves consequences from beside their cause to below it."""
    codes = {finding.code: finding for finding in found}
    causes: dict[str, str] = {}
    for finding in sorted(found, key=lambda entry: (LEVELS.index(entry.level), entry.step, entry.code)):
        for code in sorted(explains.get(finding.code, ())):
            # What was seen before its cause is not its consequence.
            if (
                code in codes
                and code != finding.code
                and codes[code].step >= finding.step
                and code not in causes
                # An error is not hidden below a warning, nor a warning below advice.
                and LEVELS.index(codes[code].level) >= LEVELS.index(finding.level)
            ):
                causes[code] = finding.code
    for code in list(causes):  # of two that explain each other, and in chains: the one at the top
        seen = {code}
        while causes[code] in causes and causes[code] not in seen:
            seen.add(causes[code])
            causes[code] = causes[causes[code]]
        if causes[code] in seen and causes[code] in causes:
            del causes[code]
    below: dict[str, list[str]] = {}
    for code, cause in causes.items():
        below.setdefault(cause, []).append(code)
    return [
        replace(finding, consequences=tuple(sorted(below.get(finding.code, ()))))
        for finding in found
        if finding.code not in causes
    ]
