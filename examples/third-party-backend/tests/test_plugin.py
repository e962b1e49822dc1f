"""What this distribution declares is found by name, as it is installed."""

import subprocess
import sys

from acme_kladml_jsonl.settings import JsonlSettings

from kladml import PluginRegistry
from kladml.interfaces import BackendContext, settings_of
from kladml.plugins import LifecycleHooks, RunInfo


def test_registry_finds_the_tracker_by_its_name():
    registry = PluginRegistry()
    assert registry.find("tracker", "jsonl").distribution == "acme-kladml-jsonl"
    assert registry.load("tracker", "jsonl").__name__ == "JsonlTracker"


def test_plugin_modules_import_no_implementation():
    code = (
        "import sys, acme_kladml_jsonl.plugin, acme_kladml_jsonl.journal;"
        "print('acme_kladml_jsonl.tracker' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_setting_is_documented():
    tracker_class = PluginRegistry().load("tracker", "jsonl")
    assert [setting.name for setting in settings_of(tracker_class) if not setting.doc] == []


def test_relative_folder_is_in_the_workspace(tmp_path):
    tracker_class = PluginRegistry().load("tracker", "jsonl")
    settings = JsonlSettings(folder="runs", sync=True)
    tracker = tracker_class.from_settings(settings, BackendContext(tmp_path))
    assert (tracker.folder, tracker.sync) == (tmp_path / "runs", True)


def test_journal_notes_start_and_end(tmp_path, monkeypatch):
    monkeypatch.setenv("ACME_JOURNAL", str(tmp_path / "journal.txt"))
    hooks = LifecycleHooks.installed(PluginRegistry())
    run = RunInfo("default/default/digits@1", "0f3c", {"tracker": "jsonl"})
    hooks.run_started(run)
    hooks.run_ended(run, "FINISHED", {"loss": 0.25})
    assert (tmp_path / "journal.txt").read_text().splitlines() == [
        "default/default/digits@1 started with jsonl",
        "default/default/digits@1 FINISHED loss=0.25",
    ]


def test_without_the_variable_the_journal_is_silent(tmp_path, monkeypatch):
    monkeypatch.delenv("ACME_JOURNAL", raising=False)
    monkeypatch.chdir(tmp_path)
    LifecycleHooks.installed(PluginRegistry()).run_started(RunInfo("default/default/digits@1", "0f3c"))
    assert list(tmp_path.iterdir()) == []
