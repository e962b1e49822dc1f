from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kladml_cli.terminal import echo, print_json, print_table, printable, size, styled


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def new_terminal(monkeypatch):
    """Return the function that makes standard output a terminal."""

    def make():
        monkeypatch.setattr(sys, "stdout", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        return sys.stdout

    return make


ROWS = [("storage", "local", "ok"), ("tracker", "s3-of-a-third-party", "broken: no module")]


def test_pipe_gets_aligned_rows_without_header_or_colour(capsys):
    print_table(("KIND", "NAME", "STATE"), ROWS, [{}, {"fg": "red"}])
    assert capsys.readouterr().out == (
        "storage  local                ok\ntracker  s3-of-a-third-party  broken: no module\n"
    )


def test_terminal_gets_a_header_and_coloured_rows(new_terminal):
    terminal = new_terminal()
    print_table(("KIND", "NAME", "STATE"), ROWS, [{}, {"fg": "red"}])
    assert terminal.getvalue() == (
        "\x1b[1mKIND     NAME                 STATE\x1b[0m\n"
        "storage  local                ok\n"
        "\x1b[31mtracker  s3-of-a-third-party  broken: no module\x1b[0m\n"
    )


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(new_terminal, monkeypatch, name, value):
    terminal = new_terminal()
    monkeypatch.setenv(name, value)
    assert styled("text", terminal, fg="red") == "text"


HOSTILE = "\x1b[31mred\nnext\tlast\x9b\u202e\ud800\x7f"
HARMLESS = " [31mred next last    "


def test_what_would_command_a_terminal_is_replaced_wherever_it_is_printed(new_terminal):
    assert printable("naïve 模型 🚀") == "naïve 模型 🚀"
    assert printable(HOSTILE) == HARMLESS
    assert printable("two\nlines\t\x1b", kept="\n") == "two\nlines  "
    terminal = new_terminal()
    echo(HOSTILE)
    echo(HOSTILE, fg="green")
    echo(styled(HOSTILE, io.StringIO()))
    assert terminal.getvalue() == f"{HARMLESS}\n\x1b[32m{HARMLESS}\x1b[0m\n{HARMLESS}\n"


def test_a_cell_is_one_line_whatever_it_holds(new_terminal):
    terminal = new_terminal()
    print_table(("NAME", "VALUE"), [(HOSTILE, "1"), ("b", HOSTILE)], [{}, {"fg": "red"}])
    head, *rows = terminal.getvalue().splitlines()
    assert head == f"\x1b[1m{'NAME':<{len(HARMLESS)}}  VALUE\x1b[0m"
    assert rows == [f"{HARMLESS}  1", f"\x1b[31m{'b':<{len(HARMLESS)}}  {HARMLESS.rstrip()}\x1b[0m"]


def test_empty_table_is_nothing_on_a_pipe(capsys):
    print_table(("A", "B"), [])
    assert capsys.readouterr().out == ""


def test_json_is_valid_whatever_the_values_are(capsys):
    print_json({"a": math.nan, "b": [math.inf, 1.5, True, None], "c": Path("x"), 1: ("ü",)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5, True, None], "c": "x", "1": ["ü"]}


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_comes_back_as_it_was_but_for_numbers_that_are_none(capsys, value):
    def expected(part):
        if isinstance(part, dict):
            return {name: expected(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [expected(inner) for inner in part]
        return None if isinstance(part, float) and not math.isfinite(part) else part

    print_json(value)
    assert json.loads(capsys.readouterr().out) == expected(value)


@given(st.lists(st.tuples(st.text("ab-"), st.text("cd."), st.text("ef "))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_of_a_table_begin_where_all_cells_before_them_have_ended(capsys, rows):
    print_table(("A", "B", "C"), rows)
    second = max((len(row[0]) for row in rows), default=0) + 2
    third = second + max((len(row[1]) for row in rows), default=0) + 2
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        padded = line.ljust(third + len(row[2]))
        assert (padded[:second].rstrip(), padded[second:third].rstrip(), padded[third:]) == row


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000, "2.5 MB"), (7_000_000_000_000, "7.0 TB")],
)
def test_sizes(count, text):
    assert size(count) == text
