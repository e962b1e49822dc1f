"""The plugin is found by its name and costs nothing until it is selected."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kladml_backends_console
from kladml.errors import WrongTypeError
from kladml.interfaces import BackendContext, ConfigEntry, settings_of
from kladml.plugins import PluginEntry, PluginIndex, PluginRegistry
from kladml_backends_console.settings import ConsoleSettings


def test_registry_loads_the_publisher_by_its_name():
    entry = PluginEntry("publisher", "console", "kladml-backends-console", "0.20.0", "kladml_backends_console.plugin")
    loaded = PluginRegistry(PluginIndex([entry])).load("publisher", "console")
    assert loaded is kladml_backends_console.ConsolePublisher


def test_package_plugin_and_settings_import_no_rich():
    code = "import sys, kladml_backends_console.plugin, kladml_backends_console.settings;print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_plain_lines_import_no_rich():
    code = (
        "import sys; from kladml_backends_console import ConsolePublisher; p = ConsolePublisher();"
        "p.publish('kladml:a/b/c@1', {'event': 'run_ended', 'time': 1.0, 'status': 'FINISHED'});"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert done.stderr == "a/b/c@1 FINISHED in 0.0 s\n"


def test_every_setting_is_documented_and_has_a_default():
    settings = settings_of(kladml_backends_console.ConsolePublisher)
    assert [setting.name for setting in settings if setting.required or not setting.doc] == []


def test_settings_reach_the_publisher(tmp_path, capsys, play):
    settings = ConsoleSettings(style="plain", seconds_between_lines=0.0)
    with kladml_backends_console.ConsolePublisher.from_settings(settings, BackendContext(tmp_path)) as publisher:
        play(publisher, epochs=1)
    assert "epoch 1/1 step 10/10 loss=0.2000" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "value"), [("style", "loud"), ("seconds_between_lines", -1.0)])
def test_wrong_settings_are_refused_with_file_and_line(key, value):
    from kladml.config import backend_settings, resolve

    resolved = resolve([ConfigEntry(f"publisher.console.{key}", value, "kladml.yaml:7")])
    with pytest.raises(WrongTypeError, match=f"kladml.yaml:7: publisher.console.{key} must be .*{value}"):
        backend_settings(resolved, "publisher", "console", kladml_backends_console.ConsolePublisher)


def test_unknown_name_in_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="FilePublisher"):
        _ = kladml_backends_console.FilePublisher


def test_names_of_the_package_can_be_listed():
    assert "ConsolePublisher" in dir(kladml_backends_console)
