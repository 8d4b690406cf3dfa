"""`netwright examine [options] SCRIPT [its arguments]`: say what is wrong with a training script."""

from __future__ import annotations

import contextlib
import linecache
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperCommand

from netwright.errors import NetwrightError, unknown_name

if TYPE_CHECKING:
    from netwright.examine import Examination
    from netwright.finding import Finding

FAIL_ON = ("error", "warning", "never")
_WITHOUT_VALUE = frozenset({"--help", "--traceback"})


def own_arguments(arguments: list[str]) -> int:
    """Returns how many of the arguments behind the verb are ours: SCRIPT (or what `-m` names) and all behind it are not.

    >>> own_arguments(["--allow", "no-shuffle", "train.py", "--json", "5"])
    2
    >>> own_arguments(["-m", "package.train", "--epochs", "3"]), own_arguments(["--json=out", "-mtrain", "x"])
    (2, 2)
    """
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if word == "--" or not word.startswith("-") or word == "-":
            return position
        value_follows = (
            word not in _WITHOUT_VALUE and "=" not in word and (word.startswith("--") or len(word) == 2)
        )
        position += 2 if value_follows else 1
        if word == "--module" or word.startswith(("--module=", "-m")):
            return min(position, len(arguments))
    return len(arguments)


class _Command(TyperCommand):
    """What stands behind SCRIPT, or behind the module that `-m` names, is left alone, whatever it looks like."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ours = own_arguments(args)
        if args[ours:]:
            dashes = args[ours] == "--" and not any(
                word.startswith(("-m", "--module")) for word in args[:ours]
            )
            args = [*args[:ours], "--", *args[ours + dashes :]]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    app.command("examine", cls=_Command, no_args_is_help=True, options_metavar="[OPTIONS]")(examine)


def examine(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT [ITS ARGUMENTS]", help="All behind SCRIPT belongs to it.", show_default=False
        ),
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("--module", "-m", metavar="MODULE", help="A module instead, as python -m does."),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the report to a file, for machines.")
    ] = None,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write the report as a page.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="RULE", help="Silence a rule by name or code; repeatable."),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", metavar="error|warning|never", help="Findings at which the exit code is 1."
        ),
    ] = "error",
    stop_after: Annotated[
        str | None,
        typer.Option("--stop-after", metavar="N", help="End the script early: '100 steps' or '30 s'."),
    ] = None,
) -> None:
    """Run an unchanged training script and say what is wrong with it.

    The report goes to standard error; standard output belongs to the script. Exit code: 1 if there is an error
    among the findings (--fail-on), else the script's own.

    For example: netwright examine --stop-after '30 s' train.py --epochs 5
    """
    if fail_on not in FAIL_ON:
        raise unknown_name("level for --fail-on", fail_on, FAIL_ON)
    words = list(command or [])
    if module is None and not words:
        raise NetwrightError(
            "no script given: netwright examine [options] SCRIPT [its arguments], or -m MODULE"
        )
    report = _Report(fail_on, json=_target("--json", json), html=_target("--html", html))
    from netwright.examine import run_module, run_script

    asked: dict[str, Any] = {
        "allow": allow or [], "stop_after": stop_after, "on_finding": report.at_once, "on_end": report.at_end
    }  # fmt: skip
    if module is not None:
        run_module(module, words, **asked)
    else:
        run_script(words[0], words[1:], **asked)
    raise typer.Exit(report.code)


def _target(option: str, name: str | None) -> Path | None:
    """Returns where a report is to be written. That it can be is found out before the script runs for hours."""
    if name is None:
        return None
    if name == "-":
        raise NetwrightError(f"{option} wants a file: standard output belongs to the script")
    path = Path(name).absolute()
    there = path.exists()
    try:
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise NetwrightError(f"{option}: cannot write {name}: {error.strerror or error}") from None
    return path


@dataclass
class _Report:
    """What is said while the script runs and when it has ended, whichever way it ends."""

    fail_on: str
    json: Path | None = None
    html: Path | None = None
    code: int = 0
    # As they are before the script: it may change its folder, its path, its streams.
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    folder: str = field(default_factory=os.getcwd)
    path: list[str] = field(
        default_factory=lambda: [entry for entry in sys.path if os.path.abspath(entry) != os.getcwd()]
    )

    def at_once(self, finding: Finding) -> None:
        """Errors are told while the script still runs: it may go on for hours."""
        if finding.level == "error" and finding.moment != "end":
            where = f" {finding.file}:{finding.line}" if finding.file else ""
            print(
                f"netwright: {finding.level}[{finding.code}]{where}: {finding.title} (more at the end)",
                file=self.stream,
                flush=True,
            )

    def at_end(self, result: Examination) -> int:
        self.code = result.exit_code(self.fail_on)
        try:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stdout.flush()
            self._write(result)
        except NetwrightError as error:
            print(f"netwright: {error}", file=self.stream)
            self.code = self.code or 2
        except Exception:
            # Whatever goes wrong here, the findings come out.
            print(result, file=self.stream)
            traceback.print_exc(file=self.stream)
        return self.code

    def _write(self, result: Examination) -> None:
        from netwright.examine import load_rules

        content = result.to_dict()
        told: dict[str, Any] = {
            "rules": {
                entry.rule.code: {"slug": entry.rule.slug, "title": entry.rule.title}
                for entry in load_rules()
            },
            "line_of": self._line_of,
        }
        with self._own_imports():
            from netwright.report.findings import print_findings, write_findings

            print_findings(content, stream=self.stream, **told)
            try:
                if self.json is not None:
                    result.save(self.json)
            except OSError as error:
                raise NetwrightError(f"--json: cannot write {self.json}: {error.strerror or error}") from None
            if self.html is not None:
                write_findings(self.html, content, **told)

    def _line_of(self, file: str, line: int) -> str:
        return linecache.getline(os.path.join(self.folder, file), line)

    @contextlib.contextmanager
    def _own_imports(self) -> Iterator[None]:
        """A file rich.py or jinja2.py in the script's folder is not ours."""
        theirs, sys.path[:] = list(sys.path), self.path
        try:
            yield
        finally:
            sys.path[:] = theirs
