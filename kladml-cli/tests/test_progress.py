"""Bars that appear when something takes a while."""

from __future__ import annotations

import io
import sys

import click
import pytest

from kladml_cli import progress
from kladml_cli.options import global_options
from kladml_cli.progress import bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("patience", "appears"), [(0, True), (60, False)])
def test_a_bar_appears_on_a_terminal_once_something_takes_a_while(monkeypatch, patience, appears):
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with bar("adding", 100) as tell:
        tell(40)
        tell(60)
    assert ("adding" in sys.stderr.getvalue()) == appears
    assert ("100%" in sys.stderr.getvalue()) == appears


def test_nothing_is_shown_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    with bar("adding", 100) as tell:
        tell(100)
    assert capsys.readouterr() == ("", "")


def test_nothing_is_shown_where_quiet_is_asked_for(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())

    @click.command()
    @global_options()
    def command():
        with bar("adding", 100) as tell:
            tell(100)

    command.main(["--quiet"], standalone_mode=False)
    assert sys.stderr.getvalue() == ""
    command.main([], standalone_mode=False)
    assert "adding" in sys.stderr.getvalue()
