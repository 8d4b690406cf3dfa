"""Delimited files against Python's own csv module, and every rule of the reader."""

from __future__ import annotations

import csv
import gzip
import random
import string
from pathlib import Path

import pytest

from netwright.data.delimited import read_sheet
from netwright.errors import DataError


def sheet(folder: Path, text: str | bytes, name: str = "table.csv", **options):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sheet(path, **options)


def refusal(folder: Path, text: str | bytes, name: str = "table.csv", **options) -> str:
    with pytest.raises(DataError) as caught:
        sheet(folder, text, name, **options)
    assert len(str(caught.value).splitlines()) <= 4
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "|"])
def test_reads_what_csv_writes(tmp_path, separator):
    draw = random.Random(0)
    letters = string.ascii_letters + " ',;|\"äß中"
    rows = [["a" + "".join(draw.choices(letters, k=8)) + "z" for _ in range(3)] for _ in range(200)]
    path = tmp_path / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([["x", "y", "w"], *rows])
    found = read_sheet(path)
    assert found.names == ["x", "y", "w"]
    assert [list(row) for row in zip(*(found.column(name).to_pylist() for name in "xyw"))] == rows


def test_tabs_leave_quotation_marks_alone(tmp_path):
    found = sheet(tmp_path, 'label\tline\nham\t"hi, she said\nspam\tfree" now\n', "t.tsv")
    assert found.column("line").to_pylist() == ['"hi, she said', 'free" now']


def test_tabs_with_whole_cells_in_quotation_marks(tmp_path):
    assert sheet(tmp_path, 'a\tb\n1\t"x"\n2\t"y z"\n', "t.tsv").column("b").to_pylist() == ["x", "y z"]


def test_quoted_cells_may_hold_lines(tmp_path):
    assert sheet(tmp_path, 'a,b\n1,"x\ny"\n2,z\n').column("b").to_pylist() == ["x\ny", "z"]


def test_compressed(tmp_path):
    found = sheet(tmp_path, gzip.compress(b"a,b\n1,x\n2,y\n"), "t.csv.gz")
    assert found.column("a").to_pylist() == [1, 2]


@pytest.mark.parametrize("gap", ["", "?", "NA", " ", "nan", "null"])
def test_gaps_are_nulls_in_text_and_numbers(tmp_path, gap):
    found = sheet(tmp_path, f"a,b\n 1, x\n{gap},{gap}\n2.5,y\n")
    assert found.column("a").to_pylist() == [1.0, None, 2.5]
    assert found.column("b").to_pylist() == ["x", None, "y"]


def test_numbers_behind_spaces_are_numbers(tmp_path):
    assert sheet(tmp_path, "a, b\n 1, 2\n 3, ?\n").column("b").to_pylist() == [2, None]


class TestHeader:
    def test_is_told_from_names(self, tmp_path):
        assert sheet(tmp_path, "name,kind\nada,x\nbob,y\n").names == ["name", "kind"]

    def test_a_number_means_none(self, tmp_path):
        found = sheet(tmp_path, "39,State\n50,Self\n")
        assert found.names == ["column1", "column2"] and len(found) == 2
        assert "no header: the columns are named column1 to column2" in found.notes

    def test_a_cell_that_comes_again_means_none(self, tmp_path):
        assert len(sheet(tmp_path, "ham\tgo on\nspam\twin\nham\tok\n", "t.tsv")) == 3

    def test_an_empty_first_name_is_a_column_of_row_numbers(self, tmp_path):
        assert sheet(tmp_path, ",age\n0,31\n1,17\n").names == ["column1", "age"]

    def test_can_be_said(self, tmp_path):
        assert sheet(tmp_path, "a,b\nc,d\n", header=False).names == ["column1", "column2"]
        assert sheet(tmp_path, "1,2\n3,4\n", header=True).names == ["1", "2"]

    def test_names_twice(self, tmp_path):
        assert "a more than once" in refusal(tmp_path, "a,b,a\nx,y,z\n", header=True)


class TestRowsThatDoNotFit:
    def test_few_are_left_out_counted_and_shown(self, tmp_path):
        lines = ["a,b"] + ["1,2"] * 300
        lines[5], lines[9] = "1", "1,2,3"
        found = sheet(tmp_path, "\n".join(lines) + "\n")
        assert len(found) == 298
        assert found.notes == [
            "2 of 300 rows do not have 2 cells (row 6 has 1, row 10 has 3) and are left out"
        ]

    def test_many_are_an_error(self, tmp_path):
        said = refusal(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8\n")
        assert "2 of 4 rows do not have 2 cells (row 3 has 1, row 4 has 3)" in said
        assert "data.unreadable" in said

    def test_how_many_can_be_said(self, tmp_path):
        assert len(sheet(tmp_path, "a,b\n1,2\n3\n4,5\n", unreadable=0.5)) == 2


class TestEncoding:
    def test_byte_order_marks(self, tmp_path):
        for encoding in ("utf-8-sig", "utf-16"):
            found = sheet(tmp_path, "naïve,b\nä,1\nö,2\n".encode(encoding))
            assert found.names == ["naïve", "b"] and found.column("naïve").to_pylist() == ["ä", "ö"]

    def test_another_encoding_is_named_with_its_line(self, tmp_path):
        said = refusal(tmp_path, "a,b\n1,x\n2,caf\xe9\n3,y\n".encode("latin-1"))
        assert "byte 0xe9 in line 3" in said and "--set table.encoding=latin-1" in said

    def test_can_be_said(self, tmp_path):
        found = sheet(tmp_path, "a,b\n1,caf\xe9\n2,x\n".encode("latin-1"), encoding="latin-1")
        assert found.column("b").to_pylist() == ["café", "x"]

    def test_unknown_name(self, tmp_path):
        assert "unknown encoding 'klingon'" in refusal(tmp_path, "a,b\n1,2\n", encoding="klingon")


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "an empty file"),
        (b"  \n\n", "an empty file"),
        (b"a,b\n\x00\x01\x02,3\n", "NUL bytes"),
        (b"PK\x03\x04\x00\x00", "NUL bytes"),
    ],
)
def test_no_table(tmp_path, content, said):
    assert said in refusal(tmp_path, content)


def test_header_alone(tmp_path):
    assert "expected rows under the header, came none" in refusal(tmp_path, "a,b\n", header=True)


def test_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_sheet(tmp_path / "none.csv")


def test_damaged_parquet(tmp_path):
    assert "expected a whole Parquet file" in refusal(tmp_path, b"PAR1 and no more", "t.parquet")


def test_a_column_that_is_not_there(tmp_path):
    found = sheet(tmp_path, "age,sex\n1,m\n2,f\n")
    with pytest.raises(DataError, match="did you mean 'age'"):
        found.column("Age")
