"""What is cut into slices, for each kind of data: on data whose slices are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import netwright as nw
from netwright.report.slices import slice_rows, summary_lines, told
from netwright.run import Decision
from netwright.slicing import sliced, slices_of


def named(data: nw.data.Data) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for one in slices_of(data.test, torch.arange(len(data.test)))[0]:
        names.setdefault(one.by, []).append(one.name)
    return names


@pytest.fixture
def people(tmp_path: Path) -> nw.data.Data:
    """400 rows; every tenth age is missing, and the code has more categories than one would ask about."""
    rows = ["age,sex,code,born,left"]
    for n in range(400):
        age = "" if n % 10 == 0 else str(20 + n % 37)
        rows.append(
            f"{age},{'male' if n % 3 else 'female'},c{n % 30},20{n % 20:02}-01-{1 + n % 28:02},{'yes' if n % 4 else 'no'}"
        )
    file = tmp_path / "people.csv"
    file.write_text("\n".join(rows))
    return nw.load(str(file), target="left", table={"kinds": {"code": "category"}})


def test_a_table_is_cut_by_its_columns(people: nw.data.Data) -> None:
    names = named(people)
    assert set(names) == {"age", "sex", "born"}
    assert names["age"][0].startswith("2") and names["age"][-1] == "a gap" and len(names["age"]) == 5
    assert names["sex"] == ["male", "female"]
    assert names["born"] == [
        f"{which} quarter" for which in ("the earliest", "the second", "the third", "the latest")
    ]


def test_a_category_on_which_the_network_fails_is_named(people: nw.data.Data) -> None:
    at = {one.name: one.members for one in slices_of(people.test, torch.arange(len(people.test)))[0]}
    targets = people.test.targets
    right = torch.from_numpy(at["male"])
    answers = torch.nn.functional.one_hot(torch.where(right, targets, 1 - targets), 2).float()
    found = sliced(people, answers, targets)
    assert found is not None
    assert [row["slice"] for row in found["rows"] if row["worse"]][:1] == ["female"]
    assert "sex female (0.00 %, the rest 100.00 %)" in told(found)
    assert summary_lines(found)[0] == "worse than the rest: sex female"
    assert summary_lines(found)[1].startswith("    0.00 %, the rest 100.00 %")
    shown = slice_rows(found)
    assert shown is not None and all(0 <= float(row["left"]) <= 100 for row in shown["rows"])


def test_a_threshold_decides_what_was_right(people: nw.data.Data) -> None:
    answers = torch.tensor([[0.7, 0.3]]).repeat(len(people.test), 1)
    rule = Decision(positive=1, rule=(1, 0.2))
    found = sliced(people, answers, people.test.targets, decision=rule)
    assert found is not None
    share = float((people.test.targets == 1).float().mean())
    whole = sum(row["accuracy"] * row["examples"] for row in found["rows"] if row["by"] == "sex")
    assert whole / len(people.test) == pytest.approx(share)


def test_images_are_cut_by_brightness_and_contrast() -> None:
    # Flat images of growing brightness, whose contrast falls.
    pixels = np.zeros((80, 4, 4), np.uint8)
    for n in range(80):
        pixels[n] = n + 1
        pixels[n, 0, 0] = 200 - n
    targets = np.arange(80) % 2
    data = nw.load({"train": (pixels, targets), "test": (pixels, targets)})
    found = {
        (one.by, one.name): np.flatnonzero(one.members) for one in slices_of(data.test, torch.arange(80))[0]
    }
    assert found["brightness", "the darkest quarter"].tolist() == list(range(20))
    assert found["contrast", "the lowest quarter"].tolist() == list(range(60, 80))


def test_texts_are_cut_by_length_and_unknown_words(tmp_path: Path) -> None:
    lines = ["text,label"]
    for n in range(200):
        words = " ".join(["fine" if n % 2 else "bad"] * (1 + n % 8))
        lines.append(f"{words},{'good' if n % 2 else 'poor'}")
    (tmp_path / "train.csv").write_text("\n".join(lines))
    lines = ["text,label", *(f"fine fine {'odd' * (n % 2)} fine,good" for n in range(40))]
    (tmp_path / "test.csv").write_text("\n".join(lines))
    data = nw.load(str(tmp_path), target="label", text={"column": "text", "tokens": "words"})
    names = named(data)
    assert names["length"] == ["15 characters", "18 characters"]
    assert names["tokens"] == ["none unknown", "more than a tenth unknown"]


def test_recordings_are_cut_by_loudness() -> None:
    from netwright.data.sound import SoundPreparation
    from netwright.data.split import Split

    waves = torch.ones(40, 800) * torch.logspace(-2, 0, 40)[:, None]
    prepare = SoundPreparation((800,), rate=8000, mels=8, window=200, hop=80)
    part = Split(waves, torch.zeros(40, dtype=torch.int64), prepare)
    found = slices_of(part, torch.arange(40))[0]
    # The amplitude 10^-2 is -40 dB of full scale, 1 is 0 dB.
    assert found[0].name.startswith("-40 dB to ") and found[-1].name.endswith(" to 0 dB")
    assert [int(one.members.sum()) for one in found] == [10, 10, 10, 10]


def test_numbers_in_a_row_are_no_images_and_have_no_slices() -> None:
    data = nw.load((np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32), np.arange(100) % 2))
    assert slices_of(data.test, torch.arange(len(data.test))) == ([], [])
    assert sliced(data, torch.rand(len(data.test), 2), data.test.targets) is None
