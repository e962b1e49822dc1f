from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from kladml.log import bind_to_log, get_logger, log_of_run
from kladml_cli.log_output import LOGGERS, log_to_stderr


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def new_terminal(monkeypatch):
    """Return the function that makes standard error a terminal of 40 columns."""

    def make():
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "40")
        return sys.stderr

    return make


def test_lines_on_a_pipe_are_plain_and_whole(capsys):
    with log_to_stderr(logging.INFO):
        get_logger("kladml.test").info("word " * 40, step=3)
        get_logger("kladml.test").error("it broke")
    assert capsys.readouterr().err == "word " * 40 + " step=3\nerror: it broke\n"


def test_lines_for_people_command_no_terminal(capsys):
    with log_to_stderr(logging.INFO):
        get_logger("kladml.test").warning("a\x1b[31mred\nline", name_of_it="\x1b]0;title\a")
    assert capsys.readouterr().err == "warning: a [31mred\nline name_of_it= ]0;title \n"


def test_lines_for_people_do_not_repeat_the_run(capsys, monkeypatch):
    with log_to_stderr(logging.INFO), log_of_run():
        bind_to_log(run="a/b/c@1", rank=1)
        get_logger("kladml.test").info("said", step=3)
    assert capsys.readouterr().err == "said step=3\n"
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    with log_to_stderr(logging.INFO), log_of_run():
        bind_to_log(run="a/b/c@1", rank=1)
        get_logger("kladml.test").info("said", step=3)
    line = json.loads(capsys.readouterr().err)
    assert (line["run"], line["rank"], line["step"]) == ("a/b/c@1", 1, 3)


def test_lines_on_a_terminal_are_dim_and_wrapped(new_terminal):
    terminal = new_terminal()
    with log_to_stderr(logging.INFO):
        get_logger("kladml.test").info("word " * 12)
        get_logger("kladml.test").warning("careful")
    assert terminal.getvalue() == (
        "\x1b[2mword word word word word word word word\n  word word word word\x1b[0m\n"
        "\x1b[33mwarning: careful\x1b[0m\n"
    )


def test_lines_on_a_terminal_without_colours(new_terminal, monkeypatch):
    terminal = new_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    with log_to_stderr(logging.INFO):
        get_logger("kladml.test").warning("careful")
    assert terminal.getvalue() == "warning: careful\n"


def test_lines_go_to_what_standard_error_is_at_that_moment(new_terminal, monkeypatch):
    """A progress bar puts itself before standard error, and is no terminal by its own account."""
    terminal = new_terminal()
    proxy = io.StringIO()
    with log_to_stderr(logging.INFO):
        monkeypatch.setattr(sys, "stderr", proxy)
        get_logger("kladml.test").info("above the bar")
    assert (proxy.getvalue(), terminal.getvalue()) == ("\x1b[2mabove the bar\x1b[0m\n", "")


def test_json_lines_hold_the_message_and_its_facts(capsys, monkeypatch):
    monkeypatch.setenv("KLADML_LOG_FORMAT", "json")
    with log_to_stderr(logging.INFO):
        get_logger("kladml.test").info("two\nlines ü", address="a/b/c@1", path=io)
    (line,) = capsys.readouterr().err.splitlines()
    record = json.loads(line)
    assert record.pop("time").endswith("+00:00")
    assert record == {
        "level": "info",
        "logger": "kladml.test",
        "message": "two\nlines ü",
        "address": "a/b/c@1",
        "path": repr(io),
    }


@pytest.mark.parametrize("format_name", ["json", "lines"])
def test_exception_is_shown(capsys, monkeypatch, format_name):
    monkeypatch.setenv("KLADML_LOG_FORMAT", format_name)
    with log_to_stderr(logging.INFO):
        try:
            _ = {}["inner"]
        except KeyError:
            logging.getLogger("kladml.test").exception("outer")
    text = capsys.readouterr().err
    assert "outer" in text
    assert "KeyError: 'inner'" in text


def test_backends_are_heard_and_other_packages_left_alone(capsys):
    with log_to_stderr(logging.INFO):
        get_logger("kladml_backends_local.tracker").warning("cut")
        logging.getLogger("somebody_else").info("not ours")
    assert capsys.readouterr().err == "warning: cut\n"


def test_every_distribution_of_the_repository_is_heard():
    assert {name for name in LOGGERS if name.startswith("kladml_backends")} == {
        f"kladml_backends_{name}" for name in ("aws", "console", "local", "mlflow", "redis")
    }


def test_stream_that_is_gone_ends_nothing(monkeypatch):
    with log_to_stderr(logging.INFO):
        monkeypatch.setattr(sys, "stderr", None)
        get_logger("kladml.test").info("into the void")
