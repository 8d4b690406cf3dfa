"""Runs the examiner over the corpus and prints how much it finds, how much it invents, and where.

    python benchmarks/examiner/corpus.py                    both halves, their figures as a table
    python benchmarks/examiner/corpus.py --half build       one half, and every miss and false finding of it by name
    python benchmarks/examiner/corpus.py --half build --only layer --show    cases with "layer" in the name, with findings

Every program of a case runs as a stranger's would, `netwright examine --json FILE PROGRAM` in an empty folder. A twin is
a program with one fault (`faulty.py`, the lines that a reviewer would point at end in `# <-- here`) and the same repaired;
`case.json` says which fault. Of the half called "measure" only sums are printed: it is not for building on.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LEVELS = ("error", "warning", "advice")


@dataclass
class Case:
    """A folder of the corpus."""

    folder: Path
    half: str
    code: str  #: "" for a healthy program
    also: set[str]
    allow: set[str]
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def lines(self) -> set[int]:
        text = (self.folder / "faulty.py").read_text(encoding="utf-8").splitlines()
        return {number for number, line in enumerate(text, 1) if "# <-- here" in line}


def cases(half: str, only: str) -> list[Case]:
    """Returns the cases of a half ("all" for both) whose name holds `only`, by name."""
    found = []
    for part in ("build", "measure"):
        for folder in sorted((HERE / "corpus" / part).iterdir()):
            if half not in ("all", part) or only not in folder.name or not (folder / "case.json").exists():
                continue
            told = json.loads((folder / "case.json").read_text(encoding="utf-8"))
            code = told.get("code", "") if (folder / "faulty.py").exists() else ""
            found.append(Case(folder, part, code, set(told.get("also", [])), set(told.get("allow", []))))
    return found


def child(arguments: list[str], empty: str) -> None:
    os.chdir(empty)
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silent, number)
    sys.argv = ["netwright", *arguments]
    from netwright.__main__ import main

    main()


def examine_forked(program: Path) -> dict[str, Any]:
    """As `examine`, in a fork of this process, which has imported torch already: quicker, for building on."""
    with tempfile.TemporaryDirectory() as empty:
        out = Path(empty) / "examination.json"
        began = time.perf_counter()
        arguments = ["examine", "--json", str(out), "--fail-on", "never", str(program)]
        process = multiprocessing.get_context("fork").Process(target=child, args=(arguments, empty))
        process.start()
        process.join(180)
        error = "" if out.exists() else f"no result, exit {process.exitcode}"
        if process.is_alive():
            process.kill()
        wall = time.perf_counter() - began
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return found | {"wall": wall, "failed": error}


def examine(program: Path) -> dict[str, Any]:
    """Returns the examiner's JSON of one program, with the wall time under `wall`; {} where it gave none."""
    with tempfile.TemporaryDirectory() as empty:
        out = Path(empty) / "examination.json"
        command = [sys.executable, "-m", "netwright", "examine", "--json", str(out), "--fail-on", "never"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": ""}
        environment.pop("PYTHONHASHSEED")
        began = time.perf_counter()
        try:
            ran = subprocess.run(
                [*command, str(program)],
                cwd=empty,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
            )
            error = "" if out.exists() else ran.stderr[-800:]
        except subprocess.TimeoutExpired:
            error = "more than 120 s"
        wall = time.perf_counter() - began
        found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    return found | {"wall": wall, "failed": error}


def codes(result: dict[str, Any], *levels: str) -> set[str]:
    return {entry["code"] for entry in result.get("findings", []) if entry["level"] in levels}


def named(result: dict[str, Any], code: str) -> bool:
    """Returns whether a fault is told: as a finding of its own, or below its cause or beside a consequence."""
    return any(code == entry["code"] or code in entry["consequences"] for entry in result.get("findings", []))


def line_right(case: Case, result: dict[str, Any]) -> bool | None:
    for entry in [*result.get("findings", []), *result.get("attached", [])]:
        if entry["code"] == case.code:
            lines = {entry["line"], *(int(also.rpartition(":")[2]) for also in entry.get("also", []))}
            return bool(lines & case.lines)
    return None


def levels_of_catalogue() -> dict[str, str]:
    from netwright.examine.rules import load_rules

    return {entry.rule.code: entry.rule.level for entry in load_rules()}


def figures(chosen: list[Case], level: dict[str, str]) -> dict[str, str]:
    """Returns the figures of some cases, as printed."""
    twins, sound = [case for case in chosen if case.code], []
    for case in chosen:
        sound.extend(
            (case, name, result) for name, result in case.results.items() if name in ("repaired", "healthy")
        )
    found: dict[str, str] = {"twins": str(len(twins)), "healthy programs": str(len(chosen) - len(twins))}
    for kind in LEVELS:
        mine = [case for case in twins if level.get(case.code, "warning") == kind]
        hit = sum(named(case.results["faulty"], case.code) for case in mine)
        found[f"recall, {kind}s"] = share(hit, len(mine))
    own = [case for case in twins if named(case.results["faulty"], case.code)]
    top = sum(
        bool(case.results["faulty"].get("findings"))
        and case.results["faulty"]["findings"][0]["code"] == case.code
        for case in twins
    )
    found["the first finding is the fault"] = share(top, len(twins))
    for kind in ("error", "warning"):
        false = [codes(result, kind) - case.allow for case, _, result in sound if case.code]
        found[f"false {kind}s in repaired twins"] = rate(false)
        false = [codes(result, kind) - case.allow for case, _, result in sound if not case.code]
        found[f"false {kind}s in healthy programs"] = rate(false)
        beside = [codes(case.results["faulty"], kind) - {case.code} - case.also for case in twins]
        found[f"other {kind}s in faulty twins"] = rate(beside)
    right = [answer for case in own if (answer := line_right(case, case.results["faulty"])) is not None]
    found["right line, of those found"] = share(sum(right), len(right))
    errors = [
        answer
        for case in own
        if level.get(case.code) == "error"
        and (answer := line_right(case, case.results["faulty"])) is not None
    ]
    found["right line, errors"] = share(sum(errors), len(errors))
    steps = [
        entry["step"]
        for case in own
        for entry in case.results["faulty"]["findings"]
        if entry["code"] == case.code
    ]
    times = [min(entry["seconds"] for entry in case.results["faulty"]["findings"]) for case in own]
    if times:
        found["seconds to the first finding, median (90 %)"] = (
            f"{statistics.median(times):.2f} ({sorted(times)[int(0.9 * len(times))]:.2f})"
        )
    if steps:
        found["step of the finding, median (90 %)"] = (
            f"{statistics.median(steps):.0f} ({sorted(steps)[int(0.9 * len(steps))]})"
        )
    walls = [result["wall"] for case in chosen for result in case.results.values()]
    found["seconds per program, median (most)"] = f"{statistics.median(walls):.1f} ({max(walls):.1f})"
    failed = sum(bool(result["failed"]) for case in chosen for result in case.results.values())
    found["programs without a result"] = str(failed)
    return found


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} % ({part} of {whole})" if whole else "-"


def rate(sets: list[set[str]]) -> str:
    count = sum(map(len, sets))
    return f"{count / len(sets):.3f} a program ({count} in {len(sets)})" if sets else "-"


def details(chosen: list[Case], level: dict[str, str], show: bool) -> None:
    for case in chosen:
        for name, result in case.results.items():
            where = f"{case.folder.name}/{name}"
            if result["failed"]:
                print(f"FAILED   {where}: {result['failed'].strip()[-300:]}")
            told = {entry["code"]: entry for entry in result.get("findings", [])}
            if name == "faulty" and not named(result, case.code):
                why = next(
                    (entry["why"] for entry in result.get("rules", {}).get("not_run", []) if entry["code"] == case.code),
                    "",
                )  # fmt: skip
                print(f"MISSED   {where}: {case.code}" + (f" (not run: {why})" if why else ""))
            if name == "faulty" and line_right(case, result) is False:
                entry = next(
                    entry
                    for entry in [*result["findings"], *result.get("attached", [])]
                    if entry["code"] == case.code
                )
                print(
                    f"LINE     {where}: {case.code} at {entry['line']} {entry.get('also', '')}, wanted {sorted(case.lines)}"
                )
            fine = case.allow if name != "faulty" else {case.code} | case.also
            for code, entry in told.items():
                if code not in fine and entry["level"] != "advice":
                    word = "OTHER   " if name == "faulty" else "FALSE   "
                    print(f"{word} {where}:{entry['line']}: {code} {entry['level']}: {entry['title']}")
            if name == "faulty" and told and next(iter(told)) != case.code and case.code in told:
                print(f"NOT TOP  {where}: {case.code} after {next(iter(told))}")
            if show:
                for entry in told.values():
                    print(
                        f"    {where}: {entry['code']} {entry['level']} line {entry['line']}: {entry['title']}"
                    )
    missed = Counter(
        case.code for case in chosen if case.code and not named(case.results["faulty"], case.code)
    )
    print("missed by code:", dict(sorted(missed.items())))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--half", choices=("all", "build", "measure"), default="all")
    parser.add_argument("--only", default="")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2)))
    parser.add_argument("--show", action="store_true")
    parser.add_argument(
        "--fork", action="store_true", help="fork from one process that has imported torch: quicker"
    )
    parser.add_argument("--save", type=Path, help="write all results to this file")
    parser.add_argument("--advice", action="store_true", help="also list advice on sound programs")
    told = parser.parse_args()
    chosen = cases(told.half, told.only)
    if not chosen:
        parser.error(f"no case holds {told.only!r}")
    jobs = [
        (case, path.stem)
        for case in chosen
        for path in sorted(case.folder.glob("*.py"))
        if path.stem in ("faulty", "repaired", "healthy")
    ]
    run = examine
    if told.fork:
        os.environ["OMP_NUM_THREADS"] = "1"
        import sklearn.datasets
        import sklearn.model_selection
        import sklearn.preprocessing  # noqa: F401
        import torch.utils.data  # noqa: F401

        import netwright.__main__  # noqa: F401

        run = examine_forked
    with ThreadPoolExecutor(told.jobs) as pool:
        work = [(case, name, pool.submit(run, case.folder / f"{name}.py")) for case, name in jobs]
        for number, (case, name, result) in enumerate(work, 1):
            case.results[name] = result.result()
            if sys.stderr.isatty():
                print(f"\r{number} of {len(work)} {case.folder.name:50}", end="", file=sys.stderr)
    if told.save:
        told.save.write_text(json.dumps({case.folder.name: case.results for case in chosen}))
    level = levels_of_catalogue()
    build = [case for case in chosen if case.half == "build"]
    if told.half == "build" or told.only:
        details(build, level, told.show)
    if told.advice:
        count: dict[str, list[str]] = defaultdict(list)
        for case in build:
            for name, result in case.results.items():
                if name != "faulty":
                    for code in codes(result, "advice"):
                        count[code].append(f"{case.folder.name}/{name}")
        for code, names in sorted(count.items()):
            print("advice", code, len(names), names[:6])
    halves = {half: figures([case for case in chosen if case.half == half], level) for half in ("build", "measure") if any(case.half == half for case in chosen)}  # fmt: skip
    rows = dict.fromkeys(key for entry in halves.values() for key in entry)
    print("| | " + " | ".join(halves) + " |")
    print("|---|" + "---|" * len(halves))
    for row in rows:
        print(f"| {row} | " + " | ".join(entry.get(row, "-") for entry in halves.values()) + " |")


if __name__ == "__main__":
    main()
