"""Tables against scikit-learn's own preparation, and every decision about rows, columns and targets."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, QuantileTransformer, StandardScaler

from netwright.data import Preparation, load
from netwright.data.table import TablePreparation, to_normal
from netwright.errors import DataError, UnknownNameError

COLUMNS = ["age", "fare", "sex", "town", "left"]


def rows_of(count: int, seed: int = 0) -> list[list]:
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        age = "" if draw.random() < 0.2 else round(float(draw.normal(40, 12)), 1)
        town = "" if draw.random() < 0.1 else draw.choice(["Ulm", "Bonn", "Kiel"], p=[0.6, 0.3, 0.1])
        sex = draw.choice(["m", "f"])
        rows.append(
            [age, round(float(draw.lognormal(3, 1)), 2), sex, town, "yes" if draw.random() < 0.4 else "no"]
        )
    return rows


@pytest.fixture
def written(tmp_path):
    def write(rows, names=COLUMNS, name="people.csv"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *rows])
        return path

    return write


def read(path, target="left", **options):
    table = {key: options.pop(key) for key in list(options) if key in TABLE}
    return load(path, target=target, table=table, **options)


TABLE = (
    "kinds",
    "scaling",
    "categories",
    "rare",
    "most",
    "task",
    "target_scaling",
    "encoding",
    "header",
    "gaps",
)


def numbers_of(data):
    return data.train.inputs[:, :2].numpy().astype(np.float64)


@pytest.mark.parametrize(
    "scaling, scaler",
    [
        ("standard", StandardScaler()),
        ("min-max", MinMaxScaler()),
        ("quantile", QuantileTransformer(n_quantiles=256, output_distribution="normal", subsample=None)),
    ],
)
def test_numbers_are_scaled_as_scikit_learn_scales_them(written, scaling, scaler):
    data = read(written(rows_of(800)), scaling=scaling)
    raw = numbers_of(data)
    scaler.fit(raw)
    for part in (data.train, data.test):
        raw = part.inputs[:, :2].numpy().astype(np.float64)
        got = data.preparation(part.inputs)[:, :2].numpy()
        expected = scaler.transform(raw)
        there = ~np.isnan(raw)
        assert np.allclose(got[there], expected[there], atol=2e-3 if scaling == "quantile" else 1e-5)
    gaps = np.isnan(data.train.inputs[:, 0].numpy())
    filled = data.preparation(data.train.inputs)[:, 0].numpy()[gaps]
    mean = SimpleImputer().fit(numbers_of(data)).statistics_[0]
    expected = 0.0 if scaling == "quantile" else scaler.transform([[mean, 0.0]])[0, 0]
    assert gaps.any() and np.allclose(filled, expected, atol=1e-6)


def test_pieces_are_the_way_between_quantiles(written):
    data = read(written(rows_of(800)), scaling="piecewise")
    for place, edges in enumerate(data.preparation.edges):
        raw = numbers_of(data)[:, place]
        there = ~np.isnan(raw)
        columns = [number for number, owner in enumerate(data.preparation.owners.tolist()) if owner == place]
        got = data.preparation(data.train.inputs)[:, columns].numpy()
        # All pieces together are the way through all quantiles: what np.interp says.
        whole = np.interp(raw[there], edges, np.arange(len(edges)))
        assert np.allclose(got[there].sum(1), whole, atol=1e-3)
        assert ((got[there] >= 0) & (got[there] <= 1)).all() and not got[~there].any()
        assert np.all(np.diff(got[there], axis=1) <= 1e-6), (
            "a piece is entered only when the one before is full"
        )
    far = data.preparation.read({"age": 1e9, "fare": -1e9, "sex": "m", "town": "Ulm"})
    assert data.preparation(far[None]).abs().max() <= 2


def test_unscaled(written):
    data = read(written(rows_of(100)), scaling="none")
    raw = numbers_of(data)
    got = data.preparation(data.train.inputs)[:, :2].numpy()
    assert np.allclose(got[~np.isnan(raw)], raw[~np.isnan(raw)])
    assert np.allclose(got[np.isnan(raw)], np.nanmean(raw[:, 0]), rtol=1e-6)


def test_gaps_have_a_flag_where_training_had_gaps(written):
    data = read(written(rows_of(200)))
    flag = data.preparation(data.train.inputs)[:, 2].numpy()
    assert np.array_equal(flag, np.isnan(numbers_of(data)[:, 0]))
    assert data.preparation.flags == (0,)


def test_categories_are_those_of_scikit_learn(written, tmp_path):
    rows = rows_of(300)
    data = read(written(rows), validation=0, test_share=0)
    encoder = OneHotEncoder(sparse_output=False).fit([[row[2], row[3]] for row in rows])
    expected = encoder.transform([[row[2], row[3]] for row in rows])
    got = data.preparation(data.train.inputs)[:, 3:].numpy()
    assert got.shape == expected.shape

    # The columns of one category may stand in another order: by how often they come.
    def columns(values):
        return sorted(map(tuple, values.T.tolist()))

    assert columns(got) == columns(expected)


def test_quantiles_follow_the_normal_distribution():
    values = torch.from_numpy(np.random.default_rng(0).exponential(size=(20_000, 1))).float()
    quantiles = torch.quantile(values.T, torch.linspace(0, 1, 256), dim=1).T
    out = to_normal(values, quantiles)
    assert abs(float(out.mean())) < 0.01 and abs(float(out.std()) - 1) < 0.02
    assert float(to_normal(torch.tensor([[1e9]]), quantiles)) == pytest.approx(5.2, abs=0.01)
    assert float(to_normal(torch.tensor([[-1e9]]), quantiles)) == pytest.approx(-5.2, abs=0.01)


class TestCategories:
    ROWS = [["a", 0.5], ["b", 1.5]] * 20 + [["c", 0.25]] * 3 + [["d", 0.75]] * 2

    def read(self, written, **options):
        path = written(self.ROWS, ["kind", "y"], "few.csv")
        return read(path, "y", validation=0, test_share=0, **options)

    def test_rare_ones_are_unseen_ones(self, written):
        data = self.read(written)
        assert data.input_shape == (3,)
        assert "rare categories are treated as unseen ones: kind (2 in 5 rows)" in data.notes
        one_hot = data.preparation(data.train.inputs)
        assert torch.equal(one_hot[40], one_hot[44]) and one_hot[40].sum() == 1
        assert torch.equal(data.preparation(data.preparation.read({"kind": "new"})[None])[0], one_hot[40])

    def test_how_rare_can_be_said(self, written):
        assert self.read(written, rare=3).input_shape == (4,)
        assert self.read(written, rare=1).input_shape == (4,)

    def test_the_most_frequent_stay(self, written):
        assert self.read(written, rare=1, most=1).input_shape == (2,)

    def test_without_rare_ones_an_unseen_one_is_all_zeros(self, written):
        data = self.read(written, rare=1)
        assert data.preparation(data.preparation.read({"kind": "new"})[None]).sum() == 0
        assert data.preparation.remarks(data.preparation.read({"kind": "new"})) == [
            "kind: a category that training never saw"
        ]
        assert data.preparation.remarks(data.preparation.read({"kind": None})) == [
            "kind: a gap, which training never had"
        ]

    def test_embedding(self, written):
        data = self.read(written, categories="embedding")
        assert data.input_shape == (1,) and data.preparation.facts == {"cardinalities": (4,)}
        codes = data.preparation(data.train.inputs)[:, 0]
        assert codes[:2].tolist() == [2, 3] and set(codes[40:].tolist()) == {1}
        assert float(data.preparation(data.preparation.read({"kind": ""})[None])) == 0

    def test_auto_embeds_many(self, written):
        rows = [[f"k{number % 60}", number % 7 + 0.5] for number in range(600)]
        path = written(rows, ["kind", "y"])
        data = load(path, target="y", table={"rare": 1, "suits": {"categories": "auto"}})
        assert data.preparation.facts["cardinalities"] == (62,)
        plain = load(path, target="y", table={"rare": 1})
        assert plain.input_shape == (60,) and plain.preparation.facts["cardinalities"] == ()


class TestTargets:
    def test_reason_is_said(self, written):
        data = read(written(rows_of(60)))
        assert data.classes == ("no", "yes") and "predicts classes (left: 2 different texts)" in data.notes

    def test_numbers_are_learned_scaled_and_told_in_their_unit(self, written):
        path = written([[number**2, 1000.0 + 7.5 * number] for number in range(100)], ["x", "price"])
        data = read(path, "price")
        learned = data.train.targets
        assert learned.dtype == torch.float32
        assert float(learned.mean()) == pytest.approx(0, abs=1e-5)
        assert float(learned.std(correction=0)) == pytest.approx(1, abs=1e-4)
        back = data.preparation.in_units(data.test.targets).tolist()
        assert all(value % 7.5 == pytest.approx(1000 % 7.5, abs=1e-2) for value in back)
        plain = read(path, "price", target_scaling="none")
        assert float(plain.train.targets.mean()) > 1000

    def test_rows_without_one_are_left_out_and_counted(self, written):
        rows = rows_of(60)
        for row in rows[:4]:
            row[-1] = ""
        data = read(written(rows))
        assert len(data.train) + len(data.validation) + len(data.test) == 56
        assert "4 of 60 rows have no target (left) and are left out" in data.notes

    def test_classes_of_numbers_stand_by_size(self, written):
        data = read(
            written([[number * 0.37 % 1, number % 12] for number in range(240)], ["x", "grade"]), "grade"
        )
        assert data.classes == tuple(map(str, range(12)))


class TestParts:
    def test_by_the_names_of_files(self, written, tmp_path):
        written(rows_of(80), name="set/train.csv")
        written(rows_of(30, seed=1), name="set/test.csv")
        data = read(tmp_path / "set")
        assert (len(data.train) + len(data.validation), len(data.test)) == (80, 30)

    def test_several_files_of_one_part(self, written, tmp_path):
        written(rows_of(40), name="set/a.csv")
        written(rows_of(40, seed=1), name="set/b.csv")
        assert len(read(tmp_path / "set", validation=0, test_share=0).train) == 80

    def test_copies_stay_together_only_if_every_column_is_alike(self, written):
        rows = [[number % 3 + 0.5, number % 2] for number in range(300)]
        alike = read(written(rows, ["x", "y"]), "y", validation=0)
        assert any("294 of 300 training examples are copies" in note for note in alike.notes)
        rows = [[number, *row] for number, row in enumerate(rows)]
        told_apart = read(written(rows, ["id", "x", "y"], "more.csv"), "y", validation=0)
        assert not any("copies" in note for note in told_apart.notes)

    def test_copies_of_training_rows_in_a_test_part_are_counted(self, written, tmp_path):
        rows = rows_of(80)
        written(rows, name="set/train.csv")
        written([*rows[:3], *rows_of(30, seed=1)], name="set/test.csv")
        notes = read(tmp_path / "set").notes
        assert any("3 of the 33 examples of the set's own test part are copies" in note for note in notes)

    def test_columns_that_differ(self, written, tmp_path):
        written(rows_of(40), name="set/a.csv")
        written([[1, 2]], ["age", "left"], name="set/b.csv")
        with pytest.raises(DataError, match="expected the columns of"):
            read(tmp_path / "set")

    def test_statistics_are_those_of_the_training_part(self, written):
        data = read(written(rows_of(300)), validation=0.3, test_share=0.3)
        raw = numbers_of(data)
        assert data.preparation.mean.tolist() == pytest.approx(np.nanmean(raw, 0).tolist(), rel=1e-6)


class TestPreparationIsKept:
    @pytest.mark.parametrize("scaling", ["standard", "min-max", "quantile", "piecewise", "none"])
    @pytest.mark.parametrize("categories", ["one-hot", "embedding"])
    def test_through_json_to_the_bit(self, written, scaling, categories):
        data = read(written(rows_of(200)), scaling=scaling, categories=categories)
        kept = json.loads(json.dumps(data.preparation.to_dict()))
        again = Preparation.from_dict(kept)
        assert isinstance(again, TablePreparation)
        assert torch.equal(again(data.test.inputs), data.preparation(data.test.inputs))
        assert again.to_dict() == kept

    def test_reads_other_tables_as_it_read_its_own(self, written):
        data = read(written(rows_of(200)))
        path = written([row[::-1] for row in rows_of(50, seed=3)], COLUMNS[::-1], "again.csv")
        other = load(
            path,
            target="left",
            preparation=data.preparation,
            classes=data.classes,
            validation=0,
            test_share=0,
        )
        assert other.train.inputs.shape == (50, 4)
        direct = [data.preparation.read(dict(zip(COLUMNS, row))) for row in rows_of(50, seed=3)]
        assert torch.equal(other.train.inputs.nan_to_num(-1), torch.stack(direct).nan_to_num(-1))

    def test_a_column_is_missing(self, written):
        data = read(written(rows_of(100)))
        path = written([row[:2] for row in rows_of(5)], ["age", "fares"], "again.csv")
        with pytest.raises(DataError) as caught:
            list(data.preparation.read_files([path]))
        assert "without sex, town, fare" in str(caught.value) or "fare" in str(caught.value)


class TestRowsToPredict:
    def prepared(self, written):
        return read(written(rows_of(100))).preparation

    def test_lists_follow_the_order_of_the_columns(self, written):
        prepare = self.prepared(written)
        named = prepare.read({"age": 30, "fare": 7.5, "sex": "m", "town": "Ulm"})
        assert torch.equal(named, prepare.read([30, 7.5, "m", "Ulm"]))
        assert torch.equal(
            named, prepare.read({"town": "Ulm", "sex": " m", "fare": "7.5", "age": "30", "more": 1})
        )

    @pytest.mark.parametrize(
        "row, said",
        [
            ([1, 2], "expected 4 cells"),
            ({"age": 1}, "expected the columns of training, without"),
            ("age", "expected a row"),
            (3, "expected a row"),
            ({"age": [1], "fare": 1, "sex": "m", "town": "Ulm"}, "expected one cell in column 'age'"),
        ],
    )
    def test_refusals(self, written, row, said):
        with pytest.raises(DataError) as caught:
            self.prepared(written).read(row)
        assert said in str(caught.value)

    def test_many(self, written):
        prepare = self.prepared(written)
        assert len(list(prepare.read_many([[1, 2, "m", "Ulm"], [3, None, "f", None]]))) == 2
        assert len(list(prepare.read_many({"age": 1, "fare": 2, "sex": "m", "town": "Ulm"}))) == 1
        with pytest.raises(DataError, match="came none"):
            list(prepare.read_many([]))

    def test_a_file_of_another_kind(self, written, tmp_path):
        (tmp_path / "cat.png").write_bytes(b"")
        with pytest.raises(DataError, match="expected a table"):
            list(self.prepared(written).read_files([tmp_path / "cat.png"]))


class TestRefusals:
    def refused(self, path, target="left", **options) -> str:
        with pytest.raises((DataError, UnknownNameError)) as caught:
            read(path, target, **options)
        assert len(str(caught.value).splitlines()) <= 4
        return str(caught.value)

    def test_no_target_named(self, written):
        assert "--target COLUMN" in self.refused(written(rows_of(20)), None)

    def test_unknown_target(self, written):
        assert "did you mean 'left'" in self.refused(written(rows_of(20)), "lefd")

    def test_unknown_feature(self, written):
        assert "did you mean 'age'" in self.refused(written(rows_of(20)), features=["aeg"])

    def test_target_among_features(self, written):
        assert "cannot be among the features" in self.refused(written(rows_of(20)), features=["age", "left"])

    def test_nothing_to_predict_from(self, written):
        path = written([[number, number % 2] for number in range(40)], ["id", "left"])
        assert "expected a column to predict from" in self.refused(path)

    def test_unknown_options(self, written):
        path = written(rows_of(20))
        assert "did you mean 'standard'" in self.refused(path, scaling="standart")
        with pytest.raises(DataError, match="table: "):
            load(path, target="left", table={"skaling": "none"})

    def test_options_of_tables_with_another_source(self, tmp_path):
        with pytest.raises(DataError, match="goes with a table"):
            load(tmp_path, table={"rare": 3})

    def test_a_label_that_training_did_not_have(self, written):
        data = read(written(rows_of(60)))
        path = written([[1, 2, "m", "Ulm", "maybe"]], name="again.csv")
        with pytest.raises(DataError, match="expected labels among no, yes; came maybe"):
            load(
                path,
                target="left",
                preparation=data.preparation,
                classes=data.classes,
                validation=0,
                test_share=0,
            )


class TestTelltales:
    def told(self, written, columns, target="y", **options):
        names, cells = list(columns), list(columns.values())
        data = read(written([list(row) for row in zip(*cells)], names), target, **options)
        return [note.split(" alone tells")[0] for note in data.notes if "alone tells" in note]

    def test_a_copy_of_the_target_is_named(self, written):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 400)
        columns = {
            "copy": np.where(y, "yes", "no"),
            "moved": y * 3.5 + 0.1 * rng.random(400),
            "noise": rng.random(400),
        }
        assert self.told(written, {**columns, "y": y}) == ["moved", "copy"]

    def test_a_rare_class_is_no_reason(self, written):
        rng = np.random.default_rng(0)
        y = (rng.random(600) < 0.03).astype(int)
        assert (
            self.told(written, {"noise": rng.random(600), "kind": rng.choice(["a", "b"], 600), "y": y}) == []
        )

    def test_good_columns_are_none(self, written):
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 600)
        assert self.told(written, {"good": y + rng.normal(0, 0.4, 600), "y": y}) == []

    def test_numbers(self, written):
        rng = np.random.default_rng(0)
        price = rng.lognormal(10, 1, 800)
        columns = {"in_cents": price * 100, "size": np.sqrt(price) + rng.normal(0, 40, 800), "price": price}
        assert self.told(written, columns, "price") == ["in_cents"]


@pytest.mark.parametrize("series", [None, {"horizon": 2}])
@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, series: dict[str, int] | None
) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_text("a,b\n1,2\n")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        DataError, match=r"needs pyarrow, which is not installed: pip install 'netwright\[tables\]'"
    ):
        load(path, target="b", series=series)
