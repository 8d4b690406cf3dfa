"""Rules about data: what the cases in the rule files do not show."""

from pathlib import Path

import pytest

from netwright.examine import Examination, Session
from netwright.examine.rules.origins import broken_origin

_LATE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
inputs, targets = torch.randn(400, 8), torch.randn(400, 1)
{broken}[345] = float("nan")
network = nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 1))
optimizer = torch.optim.Adam(network.parameters())
for batch, wanted in DataLoader(TensorDataset(inputs, targets), batch_size=10):
    loss = ((network(batch) - wanted) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def examined(source: str, path: Path) -> Examination:
    path.write_text(source)
    session = Session(script=str(path))
    session.attach()
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "__main__", "__file__": str(path)})
    finally:
        session.close("end")
    return session.result


@pytest.mark.parametrize("broken", ["inputs", "targets"])
def test_nan_is_found_in_a_step_that_is_not_watched_closely(broken: str, tmp_path: Path) -> None:
    result = examined(_LATE.replace("{broken}", broken), tmp_path / "train.py")
    finding = next(finding for finding in result if finding.code == "NW203")
    assert (finding.step, finding.seen["batch"], finding.seen["index"][0]) == (34, 34, 5)
    assert finding.seen["index_in_dataset"] == 345
    assert finding.title.startswith(f"the {broken} hold NaN")
    assert finding.line == 8 and finding.moment == "the step it happens"
    assert [finding.code for finding in result if finding.level == "error"] == ["NW203"]


def test_origin_is_unknown_where_nothing_was_seen(tmp_path: Path) -> None:
    result = examined(_LATE.replace("{broken}[345]", "unused = [0]; unused[0]"), tmp_path / "train.py")
    assert result.codes("error") == []
    assert broken_origin(result.observation, (10, 8)) is None
