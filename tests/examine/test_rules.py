"""Every rule is held to its form, to the fault catalogue, and to its three programs."""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from netwright.examine import Examination, Observation, Session, load_rules, rules
from netwright.finding import LEVELS, MOMENTS

RULES = load_rules()
CATALOGUE = json.loads((Path(__file__).parent / "catalogue.json").read_text())
FAULTS = Path(__file__).parents[3] / "shared" / "FAULTS.md"


def read_catalogue(text: str) -> dict[str, dict[str, str]]:
    rows = re.findall(r"^\| (NW\d{3}) \| ([\w-]+) \|(.*)\|$", text, re.M)
    found = {}
    for code, slug, rest in rows:
        cells = [cell.strip() for cell in rest.split(" | ")]
        found[code] = {"slug": slug, "by": cells[2], "level": cells[3]}
    return found


@pytest.mark.skipif(not FAULTS.exists(), reason="the fault catalogue is not beside this checkout")
def test_copy_of_the_catalogue_is_fresh() -> None:
    assert read_catalogue(FAULTS.read_text(encoding="utf-8")) == CATALOGUE


def test_codes_and_slugs_are_distinct() -> None:
    assert (
        len({entry.rule.code for entry in RULES}) == len(RULES) == len({entry.rule.slug for entry in RULES})
    )


def test_loading_them_imports_no_torch() -> None:
    # The program sets environment variables before its own `import torch`.
    code = "import sys; from netwright.examine import load_rules; load_rules(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.rule.code)
def test_form(entry: rules.RuleFile) -> None:
    rule = entry.rule
    assert {"slug": rule.slug, "by": rule.by, "level": rule.level} == CATALOGUE[rule.code]
    assert rule.level in LEVELS
    assert rule.by in MOMENTS
    file = Path(inspect.getfile(entry.check))
    assert file.stem == f"{rule.code.lower()}_{rule.slug.replace('-', '_')}"
    for name in ("title", "what", "why", "fix", "example", "limits"):
        assert len(getattr(rule, name)) > 20, name
    assert rule.why.count(".") <= 4 and "\n" not in rule.title and not rule.title.endswith(".")
    assert rule.explains <= set(CATALOGUE) - {rule.code}
    for source in (entry.bad, entry.good, entry.near_miss):
        assert "netwright" not in source
        ast.parse(source)


@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.rule.code)
def test_expects_an_observation_in_which_nothing_happened(entry: rules.RuleFile) -> None:
    try:
        assert list(entry.check(Observation())) == []
    except rules.NotObserved as reason:
        assert len(str(reason)) > 10


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Two test processes with two threads each on two cores wait for each other, which some rules would see."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def can_run(entry: rules.RuleFile) -> None:
    """Skips where the programs of a rule cannot show what they are to show."""
    if entry.needs == "several processes":
        pytest.skip("needs several processes: see test_processes.py")
    if entry.needs == "an accelerator" and not torch.cuda.is_available():
        pytest.skip("needs an accelerator: see test_accelerator.py for the rule on records")


def examined(source: str, path: Path) -> Examination:
    path.write_text(source)
    session = Session(script=str(path))
    session.attach()
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    except Exception as error:
        session.close("crash", script_exit=1, error=error)
    finally:
        session.close("end")
    return session.result


def judged(result: Examination) -> None:
    """Nothing of the watching failed, and rules come to the same from a saved observation."""
    assert result.notes == []
    assert not [why for why in result.not_run.values() if "failed" in why]
    saved = Observation.from_dict(json.loads(json.dumps(result.observation.to_dict())))
    assert saved == result.observation or "NaN" in json.dumps(saved.to_dict())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.rule.code)
def test_bad(entry: rules.RuleFile, tmp_path: Path) -> None:
    can_run(entry)
    result = examined(entry.bad, tmp_path / "train.py")
    judged(result)
    mine = [finding for finding in result if finding.code == entry.rule.code]
    assert len(mine) == 1, str(result)
    assert [
        finding.code for finding in result if finding.level == "error" and finding is not mine[0]
    ] == [], str(result)
    finding = mine[0]
    assert finding.seen and finding.expected
    assert finding.file.endswith("train.py") and finding.line > 0
    if finding.level == entry.rule.level and entry.rule.by in result.observation.moments:
        assert finding.step <= max(result.observation.moments[entry.rule.by], 2)
    if entry.rule.by in ("source", "forward", "backward", "step"):
        assert finding.step <= 1


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.rule.code)
def test_good(entry: rules.RuleFile, tmp_path: Path) -> None:
    can_run(entry)
    result = examined(entry.good, tmp_path / "train.py")
    judged(result)
    assert entry.rule.code not in result.codes(), str(result)
    assert result.crash is None


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("entry", RULES, ids=lambda entry: entry.rule.code)
def test_near_miss(entry: rules.RuleFile, tmp_path: Path) -> None:
    can_run(entry)
    result = examined(entry.near_miss, tmp_path / "train.py")
    judged(result)
    assert result.codes("error") == [], str(result)
    assert result.crash is None
