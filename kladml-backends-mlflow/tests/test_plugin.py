"""The plugin is found by its name and costs nothing until it is selected."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import kladml_backends_mlflow
from kladml.interfaces import BackendContext, settings_of
from kladml.plugins import PluginEntry, PluginIndex, PluginRegistry
from kladml_backends_mlflow.settings import MLflowSettings


def test_registry_loads_the_tracker_by_its_name():
    entry = PluginEntry("tracker", "mlflow", "kladml-backends-mlflow", "0.20.0", "kladml_backends_mlflow.plugin")
    loaded = PluginRegistry(PluginIndex([entry])).load("tracker", "mlflow")
    assert loaded is kladml_backends_mlflow.MLflowTracker


def test_package_plugin_and_settings_import_no_sdk():
    code = (
        "import sys, kladml_backends_mlflow, kladml_backends_mlflow.plugin, kladml_backends_mlflow.settings;"
        "print('mlflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_mlflow_reports_nothing_about_its_use(tmp_path):
    # Not even MLflow reports from continuous integration or from tests, so they are hidden from it.
    hidden = ("MLFLOW_", "CI", "PYTEST_", "GITHUB_", "DO_NOT_TRACK")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    code = (
        "import os, kladml_backends_mlflow; kladml_backends_mlflow.MLflowTracker;"
        "from mlflow.telemetry import get_telemetry_client;"
        "print(get_telemetry_client() is None, os.environ.get('MLFLOW_DISABLE_TELEMETRY'))"
    )
    environment["HOME"] = str(tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "True None\n"


def test_user_who_set_the_telemetry_switch_is_not_overruled(monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    with kladml_backends_mlflow._no_telemetry():
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"


def test_every_setting_is_documented_and_has_a_default():
    settings = settings_of(kladml_backends_mlflow.MLflowTracker)
    assert [setting.name for setting in settings if setting.required or not setting.doc] == []


def test_settings_reach_the_tracker(server, tmp_path):
    settings = MLflowSettings(tracking_uri=server.url, timeout=60.0, spool="waiting")
    with kladml_backends_mlflow.MLflowTracker.from_settings(settings, BackendContext(tmp_path)) as tracker:
        tracker.check()
        run_id = tracker.start_run("settings")
        assert (tmp_path / "waiting" / run_id / "run.json").is_file()
        tracker.end_run()
    assert list((tmp_path / "waiting").iterdir()) == []


def test_unknown_name_in_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="AimTracker"):
        _ = kladml_backends_mlflow.AimTracker
