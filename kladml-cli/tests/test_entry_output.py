from __future__ import annotations

import io
import sys
from datetime import UTC, datetime

import pytest

from kladml.interfaces import CatalogEntry, EntryAddress, Removal, RunAddress
from kladml_cli.entry_output import print_changes, print_entries, removal_rows


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def new_terminal(monkeypatch):
    """Return the function that makes standard output a terminal."""

    def make(columns):
        monkeypatch.setattr(sys, "stdout", Terminal())
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
        return sys.stdout

    return make


def entry(text, description, runs=0):
    now = datetime.now(UTC)
    return CatalogEntry(EntryAddress.parse(text), description, now, runs=runs, last_run_at=now if runs else None)


def test_table_on_a_terminal_has_titles_and_fits(new_terminal):
    entries = [entry("churn/deep/net", "words " * 40, 12), entry("churn/deep/wide", "short\nmore")]
    for columns in (80, 120):
        terminal = new_terminal(columns)
        print_entries("experiment", entries)
        head, long, short = terminal.getvalue().splitlines()
        assert head.split() == ["EXPERIMENT", "RUNS", "LAST", "RUN", "DESCRIPTION"]
        assert long.endswith("…")
        assert columns - 6 < len(long) <= columns
        assert short.endswith("  short")


def test_long_address_leaves_some_room_for_the_description(new_terminal):
    terminal = new_terminal(40)
    print_entries("project", [entry("x" * 90, "words " * 40)])
    assert terminal.getvalue().rstrip().endswith("words words…")


def test_description_is_whole_in_a_pipe(capsys):
    print_entries("project", [entry("churn", "words " * 40)])
    assert capsys.readouterr().out.endswith(("words " * 40).rstrip() + "\n")


def test_changes_have_no_titles(new_terminal):
    terminal = new_terminal(80)
    print_changes("made", [("project", "churn"), ("family", "churn/deep")])
    assert terminal.getvalue() == "made  project  churn\nmade  family   churn/deep\n"


@pytest.mark.parametrize(
    ("labels", "text"),
    [("1", "1"), ("1 2", "1-2"), ("3 1 2 10 9 7", "1-3,7,9-10"), ("2 0f3c9b7a", "2,0f3c9b7a")],
)
def test_numbers_of_runs_are_ranges(labels, text):
    address = EntryAddress.parse("a/b/c")
    runs = tuple(RunAddress.parse(f"a/b/c@{label}") for label in labels.split())
    count = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    assert removal_rows(Removal(address, (), runs)) == [("experiment", "a/b/c"), (count, f"a/b/c@{text}")]
