"""The vocabulary of the examiner: what a rule is, what it saw, what it found. Values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LEVELS = ("error", "warning", "advice")  # most serious first
#: In the order in which they come, but for the two that are named by what happens.
MOMENTS = (
    "source",
    "forward",
    "backward",
    "step",
    "2",
    "100",
    "the step it happens",
    "the next step",
    "epoch",
    "end",
)


@dataclass(frozen=True)
class Rule:
    """One row of the fault catalogue, with all that `netwright explain` prints about it."""

    code: str  #: "NW104": public and permanent
    slug: str  #: "relu-on-logits": public and permanent
    level: str  #: the most serious level at which the rule reports: error, warning or advice
    by: str  #: the latest of MOMENTS at which the finding must be out
    title: str  #: headline in one line that stands alone
    what: str  #: what is wrong, for someone who meets it for the first time
    why: str  #: why it matters, two or three sentences
    fix: str  #: the change to make
    example: str  #: a few lines of Python, wrong and right
    limits: str  #: what the rule cannot see, and look-alikes on which it is silent
    explains: frozenset[str] = frozenset()  #: codes that are consequences when this one is found


@dataclass(frozen=True)
class Evidence:
    """What a rule saw of one fault, before it is joined with the rule's own text."""

    seen: dict[str, Any]  #: measured figures: {"smallest_logit": 0.0}
    expected: dict[str, Any]  #: what a healthy program shows under the same keys
    file: str = ""  #: the user's own file, "" if there is none
    line: int = 0
    layer: str = ""  #: qualified name of the module, "" if there is none
    step: int = 0  #: optimizer steps done when it was first seen
    title: str = ""  #: headline with the figures in it; the rule's title if empty
    why: str = ""  #: the rule's, if empty
    fix: str = ""  #: the rule's, if empty
    diff: str = ""  #: unified diff of the change, where one can be written
    level: str = ""  #: a lower level than the rule's, where the case calls for it
    fact: str = "proved"  #: how sure is what was seen: proved, likely
    harm: str = "likely"  #: how sure is the harm: measured, likely, possible
    also: tuple[str, ...] = ()  #: "file:line" of further places that belong to the same fault


@dataclass(frozen=True)
class Finding:
    """One fault of the examined program, once, however often it shows."""

    code: str
    slug: str
    level: str
    title: str
    file: str
    line: int
    layer: str
    step: int
    seen: dict[str, Any]
    expected: dict[str, Any]
    why: str
    fix: str
    diff: str
    sure: dict[str, str]
    consequences: tuple[str, ...] = ()
    moment: str = "end"  #: the one of MOMENTS at which it was out
    seconds: float = 0.0  #: from the beginning of the watching until it was out
    also: tuple[str, ...] = field(default=())  #: "file:line" of further places with the same fault

    def to_dict(self) -> dict[str, Any]:
        """Returns the plain dictionary that CONTRACT.md describes."""
        entries = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return entries | {"consequences": list(self.consequences), "also": list(self.also)}

    @staticmethod
    def from_dict(entries: dict[str, Any]) -> Finding:
        """Returns the finding that `to_dict` was taken from; unknown keys are left out."""
        known = {name: value for name, value in entries.items() if name in Finding.__dataclass_fields__}
        for name in ("consequences", "also"):
            known[name] = tuple(known.get(name, ()))
        return Finding(**known)
