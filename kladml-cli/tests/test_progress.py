"""Bars that appear when something takes a while."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time

import click
import pytest

from kladml_cli import progress
from kladml_cli.log_output import log_to_stderr
from kladml_cli.options import global_options
from kladml_cli.progress import bar


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def text(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())

    def wait_for(self, text):
        while text not in self.text:
            time.sleep(0.005)


@pytest.fixture
def terminal(monkeypatch):
    """Give the program a terminal, which a fixture alone cannot do while pytest captures."""

    def replace(patience):
        monkeypatch.setattr(progress, "_PATIENCE", patience)
        monkeypatch.setattr(sys, "stderr", Terminal())
        return sys.stderr

    return replace


def test_a_bar_appears_by_itself_while_nothing_is_told(terminal):
    shown = terminal(0.01)
    with bar("adding [1/2]", 1000):
        shown.wait_for("adding [1/2]")
        shown.wait_for("0%")


def test_it_moves_with_what_is_told_and_goes(terminal):
    shown = terminal(0)
    with bar("adding", 1000) as tell:
        tell(250)
        shown.wait_for("25%")
        tell(800)
        tell(-50)  # a part that is sent again
        shown.wait_for("100%")
        assert sys.stderr is not shown
    assert sys.stderr is shown
    assert shown.getvalue().endswith("\x1b[2K")  # the line is empty


def test_of_an_unknown_total_it_says_how_much_was_moved(terminal):
    shown = terminal(0)
    with bar("copying", None) as tell:
        shown.wait_for("copying")
        tell(12_300_000)
        shown.wait_for("12.3 MB")
    assert "%" not in shown.text


def test_what_takes_no_while_shows_nothing(terminal):
    shown = terminal(600)
    before = threading.active_count()
    with bar("adding", 1000) as tell:
        tell(1000)
    while threading.active_count() > before:
        time.sleep(0.001)
    assert shown.getvalue() == ""


def test_several_threads_may_tell(terminal):
    shown = terminal(0)
    with bar("adding", 40_000) as tell:
        threads = [threading.Thread(target=lambda: [tell(1) for _ in range(10_000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        shown.wait_for("100%")


def test_what_is_logged_is_on_lines_of_its_own(terminal):
    shown = terminal(0)
    with log_to_stderr(logging.INFO), bar("adding", 100):
        shown.wait_for("adding")
        logging.getLogger("kladml").warning("the disk is slow")
        shown.wait_for("slow")
    assert "warning: the disk is slow\n" in shown.text.replace("\r", "\n")
    assert re.search(r"^warning: the disk is slow$", shown.text.replace("\r", "\n"), re.MULTILINE)


def test_an_error_takes_it_away(terminal):
    shown = terminal(0)
    with pytest.raises(KeyError), bar("adding", 100):  # noqa: PT012
        shown.wait_for("adding")
        raise KeyError
    assert sys.stderr is shown


def test_nothing_is_shown_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    with bar("adding", 100) as tell:
        tell(100)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("arguments", "log_format"), [(["--quiet"], ""), ([], "json")])
def test_nothing_is_shown_where_quiet_is_asked_for_or_a_collector_reads(monkeypatch, terminal, arguments, log_format):
    shown = terminal(0)
    before = threading.active_count()

    @click.command()
    @global_options()
    def command():
        with bar("adding", 100) as tell:
            assert threading.active_count() == before
            tell(100)

    monkeypatch.setenv("KLADML_LOG_FORMAT", log_format)
    command.main(arguments, standalone_mode=False)
    assert shown.getvalue() == ""
