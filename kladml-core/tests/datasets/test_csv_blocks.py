"""Blocks of CSV files, and types that are found in them."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kladml.datasets import csv_blocks as blocks_module
from kladml.datasets.csv_blocks import BrokenRowError, csv_blocks
from kladml.datasets.formats import DataFile
from kladml.datasets.tables import Table
from kladml.errors import DataError

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


PIECES = st.sampled_from(["a", "1", '"', ",", "\n", "\r\n", '5" x', ""])
CELLS = st.lists(PIECES, max_size=4).map("".join)
TABLES = st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6)


def written(path, rows, ending="\n"):
    """Write rows with all cells in quotes, and return the content with the places that are between quotes."""
    text, inside = "a,b" + ending, []
    for row in rows:
        for place, cell in enumerate(row):
            quoted = '"' + cell.replace('"', '""') + '"'
            inside += range(len(text) + 1, len(text) + len(quoted))
            text += quoted + (ending if place == len(row) - 1 else ",")
    path.write_bytes(text.encode())
    return text, inside


@given(TABLES, st.sampled_from(["\n", "\r\n"]), st.integers(1, 40), st.data())
def test_a_file_that_is_cut_inside_quotes_is_never_accepted(rows, ending, block, data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.csv")
        text, inside = written(path, rows, ending)
        found = [row for each in csv_blocks(path, ["a", "b"], block) for row in _rows_below(each)]
        assert found == rows
        cut = data.draw(st.sampled_from(inside))
        begin = _last_beginning(text, cut)
        path.write_bytes(text[:cut].encode())
        if text[cut - 1] == '"' and _is_closed(text[begin:cut]):  # between two quotes that stand for one
            list(csv_blocks(path, ["a", "b"], block))
            return
        with pytest.raises(BrokenRowError, match="is not closed") as caught:
            list(csv_blocks(path, ["a", "b"], block))
        assert caught.value.line == text.count("\n", 0, begin) + 1
        assert caught.value.column == (0 if text[begin - 1] == "\n" else 1)


def _rows_below(block):
    return [*csv.reader(io.StringIO(block.decode(), newline=""), strict=True)][1:]


def _is_closed(cell):
    """Tell whether what begins with a quote is as a whole in quotes."""
    return len(cell) > 1 and cell[1:].count('"') % 2 == 1


def _last_beginning(text, cut):
    """Return where the cell in quotes begins that a place is in."""
    begin, place = 0, 0
    while place < cut:
        if text[place] == '"':
            begin = place
            place += 1
            while place < cut and (text[place] != '"' or text[place + 1 : place + 2] == '"'):
                place += 2 if text[place] == '"' else 1
        place += 1
    return begin


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["1,2", '3,"x', "4,5", "6,7", "8,9"], "data.csv:3 has a quote in column 'b' that is not closed"),
        (['"1', '2","x', "4,5"], "data.csv:3 has a quote in column 'b' that is not closed"),
        (["1,2", '"3,x', "4,5"], "data.csv:3 has a quote in column 'a' that is not closed"),
        (["1,2", '3,"x', '4,"y"', "6,7"], "data.csv:3 has a quote in column 'b' that is not closed"),
        (['1,2,"x', "4,5"], "data.csv:2 has a quote in cell 3 that is not closed"),
    ],
)
def test_a_quote_that_is_not_closed_is_named_with_line_and_column(csv, lines, said):
    with pytest.raises(DataError, match=said):
        Table([DataFile("data.csv", csv("a,b", *lines))])


def test_a_thousand_rows_with_one_open_quote_make_no_version(store, csv):
    rows = [f"{row},ok" for row in range(1000)]
    rows[500] = '500,"ok'
    with pytest.raises(DataError, match=r"many\.csv:502 has a quote in column 'b' that is not closed, so that"):
        store.add("data", csv("a,b", *rows, name="many.csv"))
    assert store.versions("data") == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('7,"open', "large.csv:3 has a quote in column 'b' that is not closed within 1 MB"),
        ("7," + "x" * (2 << 20), "large.csv:3 begins a row that does not end within 1 MB"),
    ],
)
def test_the_memory_of_a_row_that_does_not_end_has_a_limit(csv, monkeypatch, row, said):
    monkeypatch.setattr(blocks_module, "_LARGEST_ROW", 1 << 20)
    monkeypatch.setattr(blocks_module.csv_blocks, "__defaults__", (1 << 16,))
    path = csv("a,b", "1,2", row, *(f"{number},ok" for number in range(200_000)), '9,"end"', name="large.csv")
    with pytest.raises(DataError, match=said):
        Table([DataFile("large.csv", path)])


def test_text_behind_a_closing_quote_on_one_line_is_a_part_of_the_cell(csv):
    table = Table([DataFile("data.csv", csv("a,b", '"6"" wide" or so,1', '"x" ,2'))])
    assert [row["a"] for batch in table.batches() for row in batch.to_pylist()] == ['6" wide or so', "x "]
