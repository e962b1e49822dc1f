"""`kladml ui`: what it needs, and MLflow's own pages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import kladml_cli.ui
from kladml_backends_local import LocalTracker
from kladml_cli import mlflow_pages


def test_without_a_terminal_the_way_out_is_named(kladml, workspace):
    outcome = kladml("ui")
    assert outcome.status == 3
    assert outcome.errors.startswith("Error: kladml ui needs a terminal; use 'kladml runs list --json'")


def test_without_a_workspace_it_does_not_begin(kladml, folder):
    assert "run kladml init there first" in kladml("ui").errors


def test_without_textual_one_sentence_says_what_to_install(workspace, monkeypatch):
    monkeypatch.setattr(kladml_cli, "ui", kladml_cli.ui)  # which the import below replaces
    for name in [name for name in sys.modules if name.startswith(("textual", "kladml_cli.ui"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "textual", None)
    from kladml.errors import PluginError
    from kladml_cli.commands.ui import start
    from kladml_cli.run_place import RunPlace

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(PluginError, match=r"needs textual.*pip install 'kladml-cli\[tui\]'"):
        start(RunPlace())


class Terminal:
    def isatty(self):
        return True

    def write(self, text):
        return len(text)

    def flush(self):
        pass


def test_web_names_what_to_install(kladml, workspace, monkeypatch):
    monkeypatch.setattr(mlflow_pages, "find_spec", lambda name: None if name == "flask" else importlib.util.find_spec)
    outcome = kladml("ui", "--web")
    assert outcome.status == 4
    assert outcome.errors == (
        "Error: kladml ui --web needs MLflow's server, which is not installed (kladml-cli); pip install mlflow\n"
    )


def test_web_is_for_runs_of_the_workspace(kladml, workspace):
    outcome = kladml("ui", "--web", "--set", "tracker.use=mlflow")
    assert outcome.status == 5
    assert "recorded by the tracker 'mlflow', not in the workspace" in outcome.errors


def test_web_starts_a_server_on_the_database(workspace):
    with LocalTracker(workspace / ".kladml" / "mlflow.db") as tracker:
        command = mlflow_pages.server_command(tracker, "127.0.0.1", 5001)
    assert command[:4] == [sys.executable, "-m", "mlflow", "server"]
    assert f"sqlite:///{Path(tracker.database).as_posix()}" in command
    assert command[-6:] == ["--host", "127.0.0.1", "--port", "5001", "--workers", "1"]


def test_server_that_ends_by_itself_is_an_error(kladml, workspace, monkeypatch):
    monkeypatch.setattr(mlflow_pages, "find_spec", lambda _: True)
    monkeypatch.setattr(mlflow_pages, "server_command", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    outcome = kladml("ui", "--web")
    assert outcome.status == 5
    assert "MLflow's server ended with the status 3" in outcome.errors
    assert (workspace / ".kladml" / "mlflow.db").is_file()
