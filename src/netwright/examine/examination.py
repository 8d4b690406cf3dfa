"""An observer and a judge at work together, and what comes out: an Examination."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netwright.examine.judge import Judge
from netwright.examine.observation import Crash, Observation
from netwright.finding import LEVELS, Finding

if TYPE_CHECKING:
    from netwright.examine.observer import Observer


#: As it was when Python started: what a program puts into os.environ comes too late for its own sets.
HASH_SEED = os.environ.get("PYTHONHASHSEED", "").replace("random", "")


class StopExamination(BaseException):
    """Ends the examined program when nothing more is to be learned early (`--stop-after`)."""


@dataclass(repr=False)
class Examination:
    """What is known of a program after (or while) it was examined; a sequence of its findings."""

    script: str = ""
    findings: list[Finding] = field(default_factory=list)  #: one for each cause, the most serious first
    rules_run: list[str] = field(default_factory=list)  #: codes of the rules that could judge
    not_run: dict[str, str] = field(default_factory=dict)  #: code -> why the rule could not judge
    steps: int = 0  #: optimizer steps
    seconds: float = 0.0
    script_exit: int = 0
    ended: str = ""  #: end, exit, crash, stopped, signal
    crash: Crash | None = None
    attached: list[Finding] = field(default_factory=list)  #: consequences of findings, named in theirs
    silenced: list[str] = field(default_factory=list)  #: codes of what was found and was allowed
    cut_short: list[str] = field(default_factory=list)  #: codes of rules that still needed a whole epoch
    notes: list[str] = field(default_factory=list)  #: what the reader must know to take silence rightly
    observation: Observation = field(default_factory=Observation, repr=False)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    def codes(self, level: str | None = None) -> list[str]:
        """Returns the codes that were found, those of one level or all."""
        return [finding.code for finding in self.findings if level in (None, finding.level)]

    def exit_code(self, fail_on: str = "error") -> int:
        """Returns 1 if there is a finding at `fail_on` (error, warning) or above, else the script's own exit code.

        With "never" it is always the script's own.
        """
        bad = LEVELS[: LEVELS.index(fail_on) + 1] if fail_on in LEVELS else ()
        return 1 if any(finding.level in bad for finding in self.findings) else self.script_exit

    def to_dict(self) -> dict[str, Any]:
        """Returns the object that CONTRACT.md describes ("The examiner's JSON")."""
        return {
            "version": 1,
            "script": self.script,
            "script_exit": self.script_exit,
            "steps": self.steps,
            "seconds": round(self.seconds, 3),
            "ended": self.ended,
            "findings": [finding.to_dict() for finding in self.findings],
            "rules": {
                "run": self.rules_run,
                "not_run": [{"code": code, "why": why} for code, why in sorted(self.not_run.items())],
                "cut_short": self.cut_short,
                "silenced": self.silenced,
            },
            "attached": [finding.to_dict() for finding in self.attached],
            "crash": self._crash(),
            "notes": self.notes,
        }

    def _crash(self) -> dict[str, Any] | None:
        """What was running when the program failed."""
        if self.crash is None:
            return None
        place, uid = self.crash.place, self.crash.module
        layer = self.observation.modules[uid] if uid >= 0 else None
        return {
            "kind": self.crash.kind,
            "message": self.crash.message,
            "file": place.file if place else "",
            "line": place.line if place else 0,
            "layer": layer.name if layer else "",
            "layer_class": layer.cls if layer else "",
            "config": layer.config if layer else {},
            "built": f"{layer.place.file}:{layer.place.line}" if layer and layer.place else "",
            "received": [list(shape) for shape in self.crash.shapes],
        }

    def to_json(self) -> str:
        """Returns `to_dict` as JSON; numbers that are not finite are written as strings."""
        return json.dumps(_finite(self.to_dict()), indent=1, ensure_ascii=False, default=str)

    def save(self, path: str | Path) -> None:
        """Writes `to_json` to a file."""
        Path(path).write_text(self.to_json() + "\n", encoding="utf-8")

    def __repr__(self) -> str:  # what a notebook shows
        return str(self)

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            where = f"{finding.file}:{finding.line}" if finding.file else "(no line of yours)"
            lines.append(f"{finding.code} {finding.level}: {finding.title}")
            lines.append(
                f"    {where}"
                + (f", layer {finding.layer}" if finding.layer else "")
                + f", step {finding.step}"
            )
            lines.append(f"    seen {finding.seen}, expected {finding.expected}")
            lines.append(f"    {finding.fix}")
        numbers = {level: sum(f.level == level for f in self.findings) for level in LEVELS}
        counts = [
            f"{number} {level}" + ("s" if number != 1 and level != "advice" else "")
            for level, number in numbers.items()
        ]
        lines.extend(self.notes)
        lines.append(
            f"{', '.join(counts)} in {self.steps} steps; {len(self.rules_run)} rules run, {len(self.not_run)} not run"
        )
        return "\n".join(lines)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


class Session:
    """Watches the program between `attach` and `close`, and lets the rules judge as the moments come."""

    def __init__(
        self,
        *,
        script: str = "",
        roots: tuple[str, ...] = (),
        allow: Iterable[str] = (),
        stop_steps: int | None = None,
        on_finding: Callable[[Finding], None] | None = None,
    ) -> None:
        self.judge = Judge(allow=allow)
        self.result = Examination(script=script)
        self.observer: Observer | None = None
        self.closed = False
        self._script, self._roots, self._stop_steps, self._on_finding = script, roots, stop_steps, on_finding
        self._problem = ""
        self._began = time.perf_counter()

    def attach(self) -> None:
        """Begins to watch; torch must be there. A failure is kept for the notes and does not reach the program."""
        try:
            from netwright.examine.observer import Observer

            self.observer = Observer(
                script=self._script, roots=self._roots, on_moment=self._moment, stop_steps=self._stop_steps
            )
            self.observer.start()
        except Exception as error:
            self._problem = f"the program could not be watched: {type(error).__name__}: {error}"
            if self.observer is not None:
                self.observer.disarm()

    def _moment(self, name: str, observation: Observation) -> None:
        fresh = self.judge.moment(name, observation)
        if self._on_finding is not None:
            for finding in fresh:
                self._on_finding(finding)

    def close(self, ended: str, *, script_exit: int = 0, error: BaseException | None = None) -> Examination:
        """Ends the watching and returns the result; a second call returns the same one."""
        result = self.result
        if self.closed:
            return result
        self.closed = True
        observation = Observation(script=self._script, ended=ended)
        if self.observer is not None:
            crash = self.observer.guard(self.observer.crashed, error) if error is not None else None
            observation = self.observer.finish(ended, crash)
        result.ended, result.script_exit, result.crash, result.observation = (
            ended,
            script_exit,
            observation.crash,
            observation,
        )
        result.steps = observation.step_count
        result.seconds = observation.seconds or time.perf_counter() - self._began
        if observation.backward_count or observation.losses:
            fresh = self.judge.moment("end", observation)
            if self._on_finding is not None:
                for finding in fresh:
                    self._on_finding(finding)
        else:
            if observation.crash is not None:  # it may tell by itself what is wrong
                self.judge.moment("end", observation)
            self.judge.not_run |= {
                entry.rule.code: "the program never trained"
                for entry in self.judge.rules
                if not self.judge.reports.get(entry.rule.code)
            }
        result.findings = self.judge.findings(observation)
        result.rules_run, result.not_run = self.judge.ran(), dict(sorted(self.judge.not_run.items()))
        result.attached, result.silenced = self.judge.attached, sorted(self.judge.silenced)
        if ended in ("stopped", "signal") and "epoch" not in observation.moments:
            result.cut_short = [entry.rule.code for entry in self.judge.rules if entry.rule.by == "epoch"]
        result.notes = list(self._notes(observation))
        return result

    def _notes(self, observation: Observation) -> Iterator[str]:
        if self._problem:
            yield self._problem
        elif self.observer is None:
            yield "the program never imported torch: nothing was examined"
        elif not observation.backward_count and not observation.losses:
            yield "the program never trained: no backward was seen"
        yield from observation.blind
        if self.observer is not None:
            for name, why in self.observer.broken.items():
                yield f"a part of the observation failed ({name}: {why})"


@contextmanager
def examine(*, allow: Iterable[str] = (), script: str = "") -> Iterator[Examination]:
    """Examines the training in a block; what it yields is filled when the block ends.

    allow: slugs or codes of rules that shall be silent. Raises UnknownNameError for one that is not known.

        with netwright.examine() as findings:
            train(network, data)
        for finding in findings:
            print(finding.code, finding.title, finding.file, finding.line)
    """
    session = Session(script=script, allow=allow, roots=())
    session.attach()
    try:
        yield session.result
    except BaseException as error:
        session.close("crash", script_exit=1, error=error)
        raise
    finally:
        session.close("end")
