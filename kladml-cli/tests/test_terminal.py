from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path

import pytest

from kladml_cli.terminal import print_json, print_table, styled


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


def test_empty_table_is_nothing_on_a_pipe(capsys):
    print_table(("A", "B"), [])
    assert capsys.readouterr().out == ""


def test_json_is_valid_whatever_the_values_are(capsys):
    print_json({"a": math.nan, "b": [math.inf, 1.5, True, None], "c": Path("x"), 1: ("ü",)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5, True, None], "c": "x", "1": ["ü"]}
