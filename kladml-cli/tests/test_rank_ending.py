"""What a process that trains with others tells its supervisor instead of printing it."""

from __future__ import annotations

import json

import click
import pytest

from kladml.errors import BackendError, ModelError, PeerLostError, StopRun, TrainingStopped
from kladml.training.launching.rank_folder import REPORTS_VARIABLE
from kladml_cli.exits import RunFailed, exit_status
from kladml_cli.options import Invocation


def wrapped(error, cause):
    error.__cause__ = cause
    return error


@pytest.fixture
def ends_with(tmp_path, monkeypatch, capsys):
    """End a command by an error; return its exit status and what it reports."""
    monkeypatch.setenv(REPORTS_VARIABLE, str(tmp_path))
    monkeypatch.setenv("RANK", "3")

    def run(error):
        @click.command()
        def command():
            raise error

        status = exit_status(command, [], Invocation())
        assert capsys.readouterr() == ("", "")
        return status, json.loads((tmp_path / "rank-3.json").read_text())

    return run


@pytest.mark.parametrize(
    ("error", "status", "kind", "text"),
    [
        (ModelError("no model"), 6, "failed", "Error: no model"),
        (SystemExit(4), 4, "failed", "Your code exits with 4"),
        (PeerLostError("gone"), 7, "peer lost", "Error: gone"),
        (wrapped(BackendError("no tracker"), PeerLostError("gone")), 5, "peer lost", "Error: no tracker"),
        (TrainingStopped("SIGTERM came", signal_number=15), 143, "stopped", "Stopped: SIGTERM came"),
        (StopRun("enough"), 8, "stopped", "Error: enough"),
        (SystemExit(143), 143, "stopped", "Terminated"),
        (SystemExit(138), 138, "stopped", "Stopped by SIGUSR1"),
        (KeyboardInterrupt(), 130, "stopped", "Interrupted"),
    ],
)
def test_the_supervisor_is_told_and_nobody_else(ends_with, error, status, kind, text):
    got, report = ends_with(RunFailed(error, None))
    assert got == report["exit_code"] == status
    assert (report["rank"], report["kind"], report["error"]) == (3, kind, type(error).__name__)
    assert report["text"].splitlines()[-1] == text


def test_the_traceback_of_the_users_code_is_part_of_it(ends_with):
    def users_code():
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad") as raised:
        users_code()
    text = ends_with(RunFailed(raised.value, None))[1]["text"]
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith("Error: ValueError: bad")


@pytest.mark.parametrize(("module", "kind"), [("torch.distributed", "peer lost"), ("my_database", "failed")])
def test_communication_of_ranks_that_lost_a_peer_is_no_cause(ends_with, module, kind):
    pytest.importorskip("torch.distributed")
    with pytest.raises(RuntimeError) as raised:
        exec("raise RuntimeError('Connection closed by peer [127.0.0.1]:41')", {"__name__": module})  # noqa: S102
    assert ends_with(RunFailed(raised.value, None))[1]["kind"] == kind


def test_without_a_folder_the_error_is_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(REPORTS_VARIABLE, str(tmp_path / "gone"))

    @click.command()
    def command():
        raise ModelError("no model")

    assert exit_status(command, [], Invocation()) == 6
    assert capsys.readouterr().err == "Error: no model\n"
