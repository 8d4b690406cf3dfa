"""Explanations of finished runs of each kind of data, against what the networks answer."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netwright import NetwrightError, Run, fit
from netwright.explaining import Explanation


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explained")


def trained(home: Path, name: str, network: Any = None, data: Any = "digits", **more: Any) -> Run:
    return fit(
        network, data, out=home / name, quiet=True, examine=False, epochs=more.pop("epochs", 2), **more
    )


@pytest.fixture(scope="module")
def digits(home: Path) -> Run:
    return trained(home, "digits", "cnn", recipe={"data.limit": 400})


@pytest.fixture(scope="module")
def people(home: Path) -> Run:
    """Who is old or rich is taken; the colour does not matter."""
    numbers = np.random.default_rng(0)
    with (home / "people.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["age", "income", "colour", "taken"])
        for _ in range(600):
            age, income = numbers.normal(40, 10), numbers.normal(2000, 500)
            noise = numbers.normal(0, 0.2)
            taken = (age - 40) / 10 + 2 * (income - 2000) / 500 + noise > 0
            shown = "" if numbers.random() < 0.1 else f"{age:.1f}"
            rows.writerow([shown, f"{income:.0f}", numbers.choice(["red", "blue"]), "yes" if taken else "no"])
    return trained(home, "people", None, str(home / "people.csv"), epochs=15, recipe={"data.target": "taken"})


@pytest.fixture(scope="module")
def texts(home: Path) -> Run:
    pytest.importorskip("tokenizers")
    words = np.random.default_rng(0)
    for name, sign in (("good", "lovely"), ("bad", "awful")):
        (home / "reviews").mkdir(exist_ok=True)
        lines = [" ".join(words.permutation(["the", "film", "was", "a", "very", sign])) for _ in range(80)]
        (home / "reviews" / f"{name}.txt").write_text("\n".join(lines))
    return trained(home, "texts", "gru", str(home / "reviews"), epochs=8, lr=0.01, hidden=16)


def by_method(found: Explanation) -> dict[str, Any]:
    return {one.attribution.method: one for one in found.maps}


def test_a_picture_has_three_maps_of_its_size(digits: Run) -> None:
    found = digits.explain_prediction(test=3)
    assert list(by_method(found)) == ["saliency", "integrated gradients", "occlusion"] and not found.left_out
    assert all(one.grid is not None and one.grid.shape == (8, 8) for one in found.maps)
    gradients = by_method(found)["integrated gradients"].attribution
    assert float(gradients.values.sum()) == pytest.approx(
        gradients.sum_wanted, abs=0.05 * abs(gradients.sum_wanted) + 0.01
    )
    assert found.picture is not None and found.picture.dtype == np.uint8 and found.picture.shape == (8, 8)


def test_the_score_is_the_log_odds_before_calibration(digits: Run) -> None:
    found = digits.explain_prediction(test=3, of="7")
    raw = digits.data.test.raw(torch.tensor([3]))
    with torch.no_grad():
        share = digits.network(digits.preparation(raw)).double().softmax(1)[0, 7]
    assert found.score == pytest.approx(float(share.logit()), rel=1e-4)
    assert found.of == "that it is 7" and found.unit == "log-odds"


def test_the_worst_mistake_is_set_against_the_truth(digits: Run) -> None:
    found = digits.explain_prediction()
    said, truth = found.record["label"], found.truth
    assert said != truth and found.of == f"that it is {said} and not {truth}"
    mistakes = [
        record["probabilities"][record["label"]]
        for record, target in zip(
            digits.predict(digits.data.test.inputs), digits.data.test.targets.tolist(), strict=True
        )
        if record["label"] != str(target)
    ]
    assert found.record["probabilities"][said] == pytest.approx(max(mistakes), abs=1e-5)


def test_an_array_is_explained_as_a_test_example_is(digits: Run) -> None:
    one = digits.explain_prediction(digits.data.test.inputs[3], of="3")
    other = digits.explain_prediction(test=3, of="3")
    assert one.record["probabilities"] == other.record["probabilities"] and one.truth is None
    assert np.array_equal(one.maps[0].grid, other.maps[0].grid)  # type: ignore[arg-type]


def test_the_network_is_left_as_it_was(digits: Run) -> None:
    before = {name: value.clone() for name, value in digits.network.state_dict().items()}
    digits.explain_prediction(test=1)
    assert all(torch.equal(before[name], value) for name, value in digits.network.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in digits.network.modules())


def test_columns_add_up_and_the_one_that_matters_is_first(people: Run) -> None:
    rich = {"age": 40.0, "income": 3300, "colour": "red"}
    found = people.explain_prediction([rich])
    assert found.record["label"] == "yes"
    shares = by_method(found)["shapley"]
    assert float(shares.attribution.values.sum()) == pytest.approx(shares.attribution.sum_wanted, rel=1e-4)
    adds = {part.name: part.adds for part in shares.parts}
    assert set(adds) == {"age", "income", "colour"}
    assert adds["income"] > 3 * max(abs(adds["age"]), abs(adds["colour"]))
    assert {part.name: part.text for part in shares.parts}["income"] == "3300"
    assert shares.attribution.reason is not None and "3 parts are too few" in shares.attribution.reason


def test_a_gap_is_a_part_like_others(people: Run) -> None:
    found = people.explain_prediction([{"age": None, "income": 500, "colour": "green"}])
    texts = {part.name: part.text for part in found.maps[0].parts}
    assert texts == {"age": "a gap", "income": "500", "colour": "never seen"}
    assert all(np.isfinite(part.adds) for part in found.maps[0].parts)


def test_the_word_that_decides(texts: Run) -> None:
    found = texts.explain_prediction(["the film was a very lovely"])
    assert found.record["label"] == "good"
    for method in ("leave one out", "integrated gradients"):
        parts = by_method(found)[method].parts
        assert len(parts) == 6
        assert max(parts, key=lambda part: part.adds).name == "lovely", method
    gradients = by_method(found)["integrated gradients"].attribution
    assert float(gradients.values.sum()) == pytest.approx(
        gradients.sum_wanted, abs=0.05 * abs(gradients.sum_wanted)
    )


def test_a_network_without_an_embedding_of_each_token(home: Path, texts: Run) -> None:
    bag = trained(home, "bag", "embedding-bag", str(home / "reviews"))
    found = bag.explain_prediction(test=0)
    assert list(by_method(found)) == ["leave one out"]
    assert "nn.Embedding" in found.left_out["integrated gradients"]
    assert found.truth is not None and found.record["input"].startswith("test example 0")


def test_a_text_of_one_word(texts: Run) -> None:
    found = texts.explain_prediction(["awful"])
    assert [part.name for part in found.maps[0].parts] == ["awful"]


def test_numbers_to_predict(home: Path) -> None:
    numbers = np.random.default_rng(0)
    x = numbers.normal(size=(300, 5)).astype(np.float32)
    np.savez(home / "numbers.npz", x=x, y=3 * x[:, 0].astype(np.float32))
    run = trained(home, "numbers", "mlp", str(home / "numbers.npz"), epochs=30, lr=0.01)
    found = run.explain_prediction(np.array([2, 0.1, 0.1, 0.1, 0.1]))
    assert found.of == "the value" and found.score == pytest.approx(found.record["value"], rel=1e-3)
    assert max(found.maps[1].parts, key=lambda part: abs(part.adds)).name == "number 0"
    with pytest.raises(NetwrightError, match="goes with classes"):
        run.explain_prediction(x[0], against="1")
    with pytest.raises(NetwrightError, match="one of 1 values"):
        run.explain_prediction(x[0], of="1")


def test_series_have_a_map_of_rows_and_columns(home: Path) -> None:
    time = np.arange(400)
    with (home / "load.csv").open("w") as file:
        file.write("when,load,wind\n")
        file.writelines(
            f"2024-01-{1 + n // 24:02} {n % 24}:00,{np.sin(n / 4):.3f},{n % 7}\n" for n in time if n < 700
        )
    run = trained(home, "series", "lstm", str(home / "load.csv"),
                  recipe={"data.target": "load", "series.horizon": 4, "series.window": 24, "data.time": "when"})  # fmt: skip
    found = run.explain_prediction(test=5)
    assert (
        all(one.grid is not None and one.grid.shape == (24, 2) for one in found.maps)
        and found.picture is None
    )
    assert found.of == "the mean of all values"
    gradients = by_method(found)["integrated gradients"]
    assert [part.name for part in gradients.parts] == ["load", "wind"]
    assert found.score == pytest.approx(float(np.mean(found.record["value"])), abs=1e-4)


class Steps(torch.nn.Module):
    """A network whose answers nobody can differentiate."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.layer(x.flatten(1))
        return outputs if self.training else outputs.detach()


def test_what_cannot_be_differentiated_is_left_out_with_its_reason(home: Path) -> None:
    run = trained(home, "steps", Steps())
    found = Run(home / "steps", network=run.network).explain_prediction(test=0)
    assert list(by_method(found)) == ["occlusion"]
    assert set(found.left_out) == {"saliency", "integrated gradients"}


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"of": "77"}, "unknown class '77'"),
        ({"of": "3", "against": "3"}, "cannot be set against itself"),
        ({"test": 10**6}, "the test part has the examples 0 to"),
        ({"inputs": np.zeros((8, 8)), "row": 2}, "no example number 2"),
        ({"inputs": np.zeros((9, 9))}, "expected"),
    ],
)
def test_bad_input(digits: Run, how: dict[str, Any], said: str) -> None:
    with pytest.raises(NetwrightError, match=said):
        digits.explain_prediction(**how)
