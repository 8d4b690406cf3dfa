"""What a set holds, on sets whose copies, gaps and wrong labels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import netwright as nw
from netwright.inventory import inventory, suspects
from netwright.outcome import most_wrong, suspicious
from netwright.report.holdings import holdings


def images(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4), dtype=np.uint8)


def test_copies_within_and_between_parts() -> None:
    train, test = images(60, 0), images(30, 1)
    train[7] = train[3]
    test[5] = train[9]
    test[6] = test[5]
    labels, held = np.arange(60) % 2, np.arange(30) % 2
    held[5] = 1 - labels[9]
    data = nw.load({"train": (train, labels), "test": (test, held)}, validation=0)
    found = inventory(data, learned=False)
    # test 5 and 6 are both copies of train 9; in one part twice is train 7 alone.
    copies = found["copies"]
    assert (copies["within"], copies["between"]) == (1, 2)
    assert copies["differing"] == 1 + int(held[6] != labels[9]) + int(labels[7] != labels[3])
    assert copies["pairs"][0] == ["train example 9", "test example 5"]
    assert copies["pairs"][-1] == ["train example 3", "train example 7"]
    assert found["parts"] == {"train": 60, "validation": 0, "test": 30}
    assert found["range"] == [float(train.min()), float(train.max())]
    assert [row["train"] for row in found["classes"]] == np.bincount(labels).tolist()
    shown = holdings(found)
    assert shown is not None and "2 of one in another part" in shown["copies"]


def test_nothing_twice_and_nobody_looked() -> None:
    data = nw.load({"train": (images(40, 0), np.arange(40) % 2), "test": (images(20, 1), np.arange(20) % 2)})
    shown = holdings(inventory(data, learned=False))
    assert shown is not None and shown["copies"] == "No two of 60 examples are equal."
    shown = holdings(inventory(data, learned=True))
    assert shown is not None and shown["copies"].startswith("Copies were not looked for")


def test_gaps_and_texts(tmp_path: Path) -> None:
    rows = [
        "age,sex,left",
        *(f"{'' if n < 9 else n},{'' if n < 4 else 'mf'[n % 3 > 0]},{n % 2}" for n in range(80)),
    ]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    found = inventory(
        nw.load(str(tmp_path / "t.csv"), target="left", validation=0, test_share=0), learned=False
    )
    assert found["gaps"] == [{"column": "age", "gaps": 9}, {"column": "sex", "gaps": 4}]
    rows = ["text,label", *(f"words of number {n % 50},{n % 2}" for n in range(100))]
    (tmp_path / "w.csv").write_text("\n".join(rows))
    data = nw.load(str(tmp_path / "w.csv"), target="label", text={"column": "text"}, validation=0)
    copies = inventory(data, learned=False)["copies"]
    assert copies["within"] + copies["between"] == 50


def test_wrong_labels_are_shown_with_their_place() -> None:
    data = nw.load({"train": (images(60, 0), np.arange(60) % 2), "test": (images(80, 1), np.arange(80) % 2)})
    shares = torch.nn.functional.one_hot(data.test.targets, 2).float() * 0.8 + 0.1
    shares[17] = shares[17].flip(0)
    answers = {"validation": None, "test": (shares, data.test.targets)}
    found = suspects(data, answers)
    assert found is not None and found[0] == 1
    assert found[1][0][:4] == ("test", 17, 1, 0)
    shown = suspicious(data, answers)
    assert shown is not None
    example = shown["examples"][0]
    assert (example["name"], example["true"], example["predicted"]) == ("test example 17", "1", "0")
    assert example["image"].tolist() == data.test.inputs[17, 0].tolist()
    assert suspects(data, {"validation": None}) is None


def test_a_row_of_a_table_is_shown_by_its_cells(tmp_path: Path) -> None:
    rows = ["age,city,label", *(f"{20 + n % 50},{'Ulm' if n % 3 else 'Bonn'},{n % 2}" for n in range(100))]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    data = nw.load(str(tmp_path / "t.csv"), target="label")
    part = data.test
    shares = torch.nn.functional.one_hot(1 - part.targets, 2).float()
    shown = most_wrong(data, data.classes, shares, part.targets)
    assert len(shown) == min(24, len(part)) and all(example["image"] is None for example in shown)
    for example in shown:
        age, city = example["text"].split(" · ")
        number = int(example["name"].rsplit(" ", 1)[1])
        raw = part.raw(torch.tensor([number]))[0]
        assert age.startswith("age ") and city in ("city Ulm", "city Bonn")
        assert part.preparation.read({"age": float(age[4:]), "city": city[5:]}).tolist() == raw.tolist()
