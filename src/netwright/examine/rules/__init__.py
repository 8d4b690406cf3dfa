"""The rules of the examiner, one file each, and how to write one.

A file is named after its rule, `nw104_relu_on_logits.py`, and holds

    RULE   a finding.Rule: code, slug, level and by exactly as in the fault catalogue, and the text that people read
    check  a function of an Observation that yields an Evidence for each fault that it sees
    bad, good, near_miss   three short, complete, real-looking training programs (source text)

and nothing needs to be told about it: `load_rules` finds it, tests/examine/test_rules.py holds it to the form, runs the
three programs under the examiner (`bad` must yield this finding and no other at error level, `good` nothing of this rule,
`near_miss`, the look-alike of the catalogue's column "silent on", nothing at error level), and checks the moment.

## Writing check

It gets plain records (observation.py says which record answers which question) and returns evidence:

    def check(observation: Observation) -> Iterator[Evidence]:
        for loss, op in observation.loss_ops():                 # losses that train, with their operation
            source = observation.source(op.inputs[0])           # what made the prediction; views, casts, dropout skipped
            if loss.function == "cross_entropy" and source is not None and source.name == "softmax":
                yield evidence(
                    observation, source,                        # file, line and layer are taken from the operation
                    seen={"row_sum": loss.row_sum}, expected={"row_sum": "anything"}, step=loss.step,
                    title="softmax runs twice: ...",            # a headline that stands alone, with the figures
                    diff=remove_line(...),                      # where one can be written
                )

* Report only what was observed. The column "silent on" of the catalogue comes first: a false error is worse than a miss.
* A rule that cannot judge, because what it needs did not happen, raises `NotObserved("no evaluation was seen")`; then
  the report says so. Returning without evidence means "looked and found nothing".
* `check` runs at the rule's moment (`by`), again after 2 and 100 steps, and at the end of the program, each time over the whole
  observation; the same line is reported once. It may come before its moment's records exist: expect empty lists. It must
  be quick (well under a millisecond): it runs inside somebody's training loop.
* `step` of the evidence is the step of the record that proves it, not the time at which the rule ran.
* Level: the rule's is the highest it reports. `Evidence.level` lowers it for a milder variant.
* `RULE.explains` names the codes that are consequences of this fault: where they were found at the same step or later,
  they are attached to this finding and not reported beside it.
* If the observation lacks something, add a field to the record where it belongs (observation.py), fill it in
  observer.py or measure.py, and keep both cheap; no rule ever sees a tensor.

Below are the helpers that rules share.
"""

from __future__ import annotations

import difflib
import importlib
import linecache
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from netwright.errors import UnknownNameError
from netwright.examine.observation import Module, Observation, Op, Place
from netwright.finding import Evidence, Rule


class NotObserved(Exception):
    """A rule cannot judge: what it needs did not happen in this program. The text says what."""


@dataclass(frozen=True)
class RuleFile:
    """One file of this folder."""

    rule: Rule
    check: Callable[[Observation], Iterable[Evidence]]
    bad: str
    good: str
    near_miss: str
    needs: str = (
        ""  #: NEEDS of the file: what its programs need that not every machine has ("an accelerator")
    )


@cache
def _load() -> tuple[tuple[RuleFile, ...], dict[str, str]]:
    found, broken = [], {}
    for entry in sorted(pkgutil.iter_modules(__path__), key=lambda entry: entry.name):
        if not entry.name.startswith("nw"):
            continue
        try:
            module = importlib.import_module(f"{__name__}.{entry.name}")
            found.append(
                RuleFile(
                    module.RULE,
                    module.check,
                    module.bad,
                    module.good,
                    module.near_miss,
                    getattr(module, "NEEDS", ""),
                )
            )
        except Exception as error:
            code = entry.name.partition("_")[0].upper()
            broken[code] = f"the rule does not load: {type(error).__name__}: {error}"[:300]
    return tuple(found), broken


def load_rules() -> list[RuleFile]:
    """Returns all rules that load, by code."""
    return sorted(_load()[0], key=lambda entry: entry.rule.code)


def broken_rules() -> dict[str, str]:
    """Returns the codes of the rules whose files do not load, with the reason; they are reported as not run."""
    return dict(_load()[1])


def find_rule(name: str) -> RuleFile:
    """Returns the rule with a code or slug; an unknown one is answered with the near ones."""
    for entry in load_rules():
        if name.lower() in (entry.rule.code.lower(), entry.rule.slug):
            return entry
    raise unknown_rule(name, (entry.rule for entry in load_rules()))


def unknown_rule(name: str, rules: Iterable[Rule]) -> UnknownNameError:
    """Returns the error for a name that is no rule's code or slug, offering the near ones."""
    known = {word: rule for rule in rules for word in (rule.code.lower(), rule.slug)}
    near = difflib.get_close_matches(name.strip().lower().replace("_", "-"), known, n=3, cutoff=0.5)
    offered = " or ".join(f"{known[word].slug} ({known[word].code})" for word in near)
    return UnknownNameError(
        f"unknown rule {name!r}{f': did you mean {offered}?' if near else '.'}\n"
        "A rule is named by its code (NW104) or its name (relu-on-logits); netwright explain lists them all."
    )


def evidence(
    observation: Observation,
    where: Op | Module | Place | None,
    *,
    seen: dict[str, Any],
    expected: dict[str, Any],
    layer: int | str | None = None,
    also: Iterable[Place | None] = (),
    **details: Any,
) -> Evidence:
    """Returns Evidence with file, line and layer taken from an operation, a module or a place.

    An operation of one of PyTorch's layers is where the layer was constructed, any other where it is called. `layer` is a
    module's uid or name, where it is another one than the operation's. `also` are further places where one might mend it.
    """
    place: Place | None
    if isinstance(where, Op):
        place = observation.where(where)
        layer = where.module if layer is None else layer
        details.setdefault("step", where.step)
        also = (*also, where.place)  # a layer is named where it was constructed, and where it was called
    elif isinstance(where, Module):
        place, layer = where.place, where.uid if layer is None else layer
    else:
        place = where
    name = observation.layer_name(layer) if isinstance(layer, int) else layer or ""
    file, line = (place.file, place.line) if place is not None else ("", 0)
    further = tuple(
        dict.fromkeys(f"{entry.file}:{entry.line}" for entry in also if entry is not None and entry != place)
    )
    return Evidence(seen=seen, expected=expected, file=file, line=line, layer=name, also=further, **details)


def rewrite(place: Place | None, change: Callable[[str], str | None]) -> str:
    """Returns the diff that changes the one line at a place, "" where it cannot be written.

    `change` gets the line without its end and returns the new one (or several), "" to delete it, None to leave it alone.
    """
    if place is None or not place.line:
        return ""
    lines = linecache.getlines(place.file)
    if place.line > len(lines):
        return ""
    old = lines[place.line - 1].rstrip("\n")
    new = change(old)
    if new is None or new == old:
        return ""
    after = lines[: place.line - 1] + [row + "\n" for row in new.split("\n") if new] + lines[place.line :]
    name = place.file
    return "".join(difflib.unified_diff(lines, after, f"a/{name}", f"b/{name}", n=2))


def without_call(line: str, name: str) -> str | None:
    """Returns a line without the layer or call `name(...)` in it, "" if nothing else stands there, None if it is unclear.

    >>> without_call("    nn.Linear(64, 10), nn.ReLU(),", "ReLU")
    '    nn.Linear(64, 10),'
    >>> without_call("    return F.relu(self.out(x))", "relu")
    '    return self.out(x)'
    >>> without_call("        nn.ReLU(),", "ReLU")
    ''
    >>> without_call("    return torch.softmax(self.out(x), dim=1)", "softmax")
    '    return self.out(x)'
    >>> without_call("    return self.out(x).relu()", "relu")
    '    return self.out(x)'
    """
    spots = [index for index in range(len(line)) if line.startswith(f"{name}(", index)]
    spots = [
        index for index in spots if not index or not (line[index - 1].isalnum() or line[index - 1] == "_")
    ]
    if len(spots) != 1:
        return None
    opened = spots[0] + len(name)
    closed = closing(line, opened)
    if closed < 0:
        return None
    start = spots[0]
    while start and (line[start - 1].isalnum() or line[start - 1] in "_."):
        start -= 1
    prefix = line[start : spots[0]]
    inner = _arguments(line[opened + 1 : closed])
    if (prefix and prefix.startswith(".")) or prefix.rstrip(".").split(".")[0] not in (
        "",
        "F",
        "nn",
        "torch",
    ):
        kept = line[: spots[0]].rstrip(".") + line[closed + 1 :]  # a method: x.relu()
    elif name[0].isupper():
        kept = line[:start].rstrip() + line[closed + 1 :].lstrip(" ")
        kept = kept.replace(",,", ",").replace("(,", "(")
        if ",)" in kept and ",)" not in line:
            kept = kept.replace(",)", ")")
        if not kept.strip(" ,"):
            return ""
        indent = line[: len(line) - len(line.lstrip())]
        kept = indent + kept.strip().removeprefix(",").strip() if not line[:start].strip() else kept
    elif inner:
        kept = line[:start] + inner[0] + line[closed + 1 :]
    else:
        return None
    return kept if kept.strip() else ""


def closing(line: str, opened: int) -> int:
    """Returns where the bracket that opens at `opened` is closed, -1 if that is on another line."""
    depth = 0
    for index in range(opened, len(line)):
        depth += (line[index] in "([{") - (line[index] in ")]}")
        if depth == 0:
            return index
    return -1


def _arguments(text: str) -> list[str]:
    found, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            found.append(text[start:index].strip())
            start = index + 1
    found.append(text[start:].strip())
    return [entry for entry in found if entry]


def percent(share: float) -> str:
    """Returns a share as people write it.

    >>> percent(0.4789), percent(0.0012)
    ('48 %', '0.1 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1f} %"
