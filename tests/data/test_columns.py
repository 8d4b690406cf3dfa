"""What a column is taken for, and what its cells become: against datetime, and cell by cell."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow
import pytest

from netwright.data.columns import encode, encode_row, in_order, look_at, shown_cells
from netwright.data.delimited import Sheet
from netwright.errors import DataError


def table(**columns) -> Sheet:
    return Sheet("t.csv", pyarrow.table(columns))


def kind_of(values, name="column", asked=None):
    sheet = table(**{name: values})
    found, notes = look_at(sheet, [name], {} if asked is None else {name: asked})
    return found[0], notes


SENTENCES = [f"a sentence about thing {number}" for number in range(60)]


@pytest.mark.parametrize(
    "values, kind",
    [
        ([1, 2, 5, 2], "number"),
        ([1.5, None, 2.5], "number"),
        ([True, False, None], "boolean"),
        (["a", "b", "a", None], "category"),
        (["2020-01-02", "2021-03-04", None], "date"),
        ([datetime(2020, 1, 2), datetime(2021, 1, 2)], "date"),
        ([3, 3, 3], "skip"),
        (["x", "x", None], "skip"),
        ([None, None], "skip"),
        (list(range(100)), "id"),
        ([f"K{number:03}" for number in range(60)], "id"),
        (SENTENCES, "text"),
        ([[1, 2], [3, 4]], "skip"),
    ],
)
def test_kind(values, kind):
    assert kind_of(values)[0].kind == kind


def test_different_whole_numbers_with_holes_are_an_id_by_name_alone():
    values = [3 * number for number in range(40)]
    assert kind_of(values, "income")[0].kind == "number"
    for name in ("customer_id", "customerId", "ID", "row index"):
        assert kind_of(values, name)[0].kind == "id", name
    assert kind_of(values, "humid")[0].kind == "number"


def test_words_among_numbers_count_as_gaps_while_they_are_few():
    many = [str(number % 7) for number in range(97)] + ["none given", "2x", "-"]
    column, notes = kind_of(many)
    assert column.kind == "number"
    assert notes == ["column: 3 cells are no numbers and count as gaps"]
    sheet = table(column=many)
    encoded = encode(sheet, [column])
    assert np.isnan(encoded[:, 0]).nonzero()[0].tolist() == [97, 98, 99]
    assert encoded[:97, 0].tolist() == [number % 7 for number in range(97)]


def test_many_words_among_numbers_make_categories():
    assert kind_of([str(number % 4) for number in range(80)] + ["other"] * 20)[0].kind == "category"


def test_asked_for():
    assert kind_of([1, 2, 1], asked="category")[0].categories == ("1", "2")
    assert kind_of(["a", "b"], asked="id")[0].kind == "id"
    assert kind_of(["1", "2", "x"], asked="number")[0].kind == "number"
    with pytest.raises(DataError, match="expected numbers, came 'a'"):
        kind_of(["a", "b"], asked="number")
    with pytest.raises(DataError, match="expected dates, came 'a'"):
        kind_of(["a", "b"], asked="date")
    with pytest.raises(DataError, match="did you mean 'category'"):
        kind_of(["a", "b"], asked="categorie")
    with pytest.raises(DataError, match="no input column 'colum': did you mean 'column'"):
        look_at(table(column=[1, 2]), ["column"], {"colum": "number"})


def test_categories_come_by_how_often():
    assert kind_of(["b", "a", "c", "c", "b", "c", None])[0].categories == ("c", "b", "a")


def test_whole_floats_and_integers_are_one_category():
    assert kind_of([1.0, 2.0, 1.0, 2.5], asked="category")[0].categories == ("1", "2", "2.5")


DATES = {
    "%Y-%m-%d": ["2019-12-31", "2020-02-29"],
    "%d.%m.%Y": ["31.12.2019", "29.02.2020"],
    "%m/%d/%Y": ["12/31/2019", "02/29/2020"],
    "%d/%m/%Y": ["31/12/2019", "29/02/2020"],
    "%Y-%m-%d %H:%M": ["2019-12-31 00:30", "2020-02-29 23:15"],
    "%Y-%m-%dT%H:%M:%S": ["2019-12-31T00:30:01", "2020-02-29T23:15:59"],
}


@pytest.mark.parametrize("form", DATES)
def test_dates_are_read_and_turned_as_datetime_has_them(form):
    texts = DATES[form] * 3
    column, _ = kind_of(texts)
    assert (column.kind, column.format) == ("date", form)
    encoded = encode(table(column=texts), [column])
    stamps = [datetime.strptime(text, form).replace(tzinfo=UTC) for text in texts]
    days = np.array([stamp.timestamp() / 86400 for stamp in stamps])
    assert np.allclose(np.diff(encoded[:, 0]), np.diff(days), atol=1e-4)
    for row, stamp in zip(encoded, stamps):
        seconds = stamp.hour * 3600 + stamp.minute * 60 + stamp.second
        week = 2 * math.pi * (stamp.weekday() + seconds / 86400) / 7
        assert row[3:5] == pytest.approx([math.sin(week), math.cos(week)], abs=1e-5)
        if column.timed:
            day = 2 * math.pi * seconds / 86400
            assert row[5:7] == pytest.approx([math.sin(day), math.cos(day)], abs=1e-5)
    assert column.timed == ("%H" in form)
    # A year turns once: a year later the hand is where it was.
    assert abs(encoded[0, 1] - math.sin(2 * math.pi * (days[0] / 365.2425 % 1))) < 1e-4


def test_cells_that_are_no_dates_are_counted():
    texts = [f"2020-01-{1 + number % 28:02}" for number in range(99)] + ["soon"]
    column, notes = kind_of(texts)
    assert notes == ["column: 1 cells are no dates (%Y-%m-%d) and count as gaps"]
    assert np.isnan(encode(table(column=texts), [column])[99]).all()


def test_zones_are_taken_into_account():
    stamps = pyarrow.array([0, 3_600_000_000], pyarrow.timestamp("us", tz="Europe/Berlin"))
    column, _ = kind_of(stamps)
    encoded = encode(table(column=stamps), [column])
    assert encoded[1, 0] - encoded[0, 0] == pytest.approx(1 / 24, rel=1e-4)


def test_large_numbers_keep_their_differences():
    stamps = [1_700_000_000 + number for number in (0, 1, 5, 2, 90)]
    column, _ = kind_of(stamps)
    encoded = encode(table(column=stamps), [column])[:, 0]
    assert (encoded - encoded[0]).tolist() == [0, 1, 5, 2, 90]


def test_infinite_numbers_are_gaps():
    column, _ = kind_of([1.0, float("inf"), 2.0, float("-inf")])
    assert np.isnan(encode(table(column=[1.0, float("inf"), 2.0, float("-inf")]), [column])[:, 0]).tolist() == [
        False, True, False, True,
    ]  # fmt: skip


def test_one_row_is_encoded_as_the_table():
    values = {
        "age": [22, None, 38, 26],
        "sex": ["m", "f", None, "f"],
        "member": [True, False, None, True],
        "since": ["2020-01-01 10:00", None, "2021-06-05 23:59", "1999-12-31 00:00"],
        "fare": [7.25, 71.3, 8.0, float("nan")],
    }
    sheet = table(**values)
    columns, _ = look_at(sheet, list(values), {})
    assert [column.kind for column in in_order(columns)] == [
        "number",
        "boolean",
        "date",
        "number",
        "category",
    ]
    whole = encode(sheet, columns)
    for place in range(4):
        row = {name: cells[place] for name, cells in values.items()}
        assert np.array_equal(encode_row(row, columns, ("",)), whole[place], equal_nan=True)
    unseen = encode_row({**dict.fromkeys(values), "sex": "x"}, columns, ("",))
    assert unseen[-1] == 1 and np.isnan(unseen[:-1]).all()
    assert encode_row({**dict.fromkeys(values), "age": " 41 ", "sex": "?"}, columns, ("?",))[
        [0, -1]
    ].tolist() == [41, 0]


def test_cells_are_shown_as_they_were_written():
    sheet = table(
        age=[30.5, 41.0, None],
        sex=["f", "m", None],
        member=[True, False, None],
        born=["1931-12-31", "2020-02-29", None],
        seen=["2020-01-02 03:04", "2021-03-04 23:59", None],
        same=["x", "x", "x"],
    )
    columns, _ = look_at(sheet, sheet.names, {"seen": "date", "sex": "category", "born": "date"})
    rows = [dict(shown_cells(row.tolist(), columns)) for row in encode(sheet, columns)]
    assert rows[0] == {
        "age": "30.5",
        "sex": "f",
        "member": "true",
        "born": "1931-12-31",
        "seen": "2020-01-02 03:04",
    }
    assert rows[1] == {
        "age": "41",
        "sex": "m",
        "member": "false",
        "born": "2020-02-29",
        "seen": "2021-03-04 23:59",
    }
    assert set(rows[2].values()) == {"a gap"}
    unseen = encode_row(
        {"age": 1, "sex": "x", "member": True, "born": "2020-01-01", "seen": None}, columns, [""]
    )
    assert dict(shown_cells(unseen.tolist(), columns))["sex"] == "never seen"
