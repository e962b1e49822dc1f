"""Blocks of CSV files, and types that are found in them."""

from __future__ import annotations

import csv
import io

import pytest

from kladml.datasets import csv_blocks as blocks_module
from kladml.datasets.csv_blocks import csv_blocks
from kladml.datasets.formats import DataFile
from kladml.datasets.tables import Table

NAMES = ["a", 'odd "name"', "c,d"]
ROWS = [["1", "plain", "x"], ["2", 'two\nlines, "quoted"', "y"], ["3", "", "\n\n"], ["4", "last", ""]] * 20


@pytest.mark.parametrize("block", [1, 7, 50, 1_000, 1 << 20])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("is_cut", [False, True])
def test_every_row_is_in_one_block_whole(tmp_path, block, ending, is_cut):
    text = io.StringIO()
    csv.writer(text, lineterminator=ending).writerows([NAMES, *ROWS])
    content = text.getvalue().encode("utf-8-sig")
    path = tmp_path / "rows.csv"
    path.write_bytes(content.removesuffix(ending.encode()) if is_cut else content)
    found = []
    for each in csv_blocks(path, NAMES, block):
        header, *rows = csv.reader(io.StringIO(each.decode(), newline=""))
        assert header == NAMES
        assert rows
        found += rows
    assert found == ROWS


@pytest.mark.parametrize("block", [1, 24, 50])
def test_a_quote_within_a_cell_opens_nothing(tmp_path, block):
    rows = ['5" pipe,1', '"two\nlines, 6"" wide",2', 'x,"3"', ",", '6",4']
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["t,n", *rows, ""]))
    found = [each.decode().removeprefix("t,n\n") for each in csv_blocks(path, ["t", "n"], block)]
    assert "".join(found) == "\n".join([*rows, ""])
    assert {"".join(found[:count]) for count in range(1, len(found) + 1)} <= {
        "\n".join([*rows[:count], ""]) for count in range(1, len(rows) + 1)
    }
    assert len(found) > 1


def test_a_file_without_rows_has_no_block(tmp_path):
    path = tmp_path / "empty.csv"
    for content in ("a,b\n", "a,b"):
        path.write_text(content)
        assert list(csv_blocks(path, ["a", "b"])) == []


def test_types_are_those_of_all_blocks_together(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks_module.csv_blocks, "__defaults__", (64,))
    rows = [f"{number},,,{number},yes,true" for number in range(50)]
    rows += [f"{number},,1.5,,no,false" for number in range(50)]
    rows += ["7,,2,late,no,true"]
    path = tmp_path / "types.csv"
    path.write_text("\n".join(["whole,empty,float,text,word,flag", *rows, ""]))
    assert Table([DataFile("types.csv", path)]).types == {
        "whole": "int64",
        "empty": "string",
        "float": "double",
        "text": "string",
        "word": "string",
        "flag": "bool",
    }


def test_a_quote_within_a_cell_is_a_part_of_it(tmp_path):
    path = tmp_path / "pipes.csv"
    path.write_text('pipe,empty,price\n5" pipe,,1\n6" pipe,,2\n')
    table = Table([DataFile("pipes.csv", path)])
    assert table.types == {"pipe": "string", "empty": "string", "price": "int64"}
    assert [row for batch in table.batches() for row in batch.to_pylist()] == [
        {"pipe": '5" pipe', "empty": None, "price": 1},
        {"pipe": '6" pipe', "empty": None, "price": 2},
    ]
