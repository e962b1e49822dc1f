from __future__ import annotations

import sys

import pytest

from kladml.plugins import PluginRegistry
from kladml_cli.plugin_states import installed_states, timed_state

PUBLISHER = """\
from kladml import PublisherInterface
from kladml.plugins import hookimpl

class Loud(PublisherInterface):
    def publish(self, channel, message): pass

@hookimpl
def kladml_register_publisher():
    return Loud
"""

HOOKS = """\
from kladml.plugins import hookimpl

@hookimpl
def kladml_run_started(run):
    pass
"""


@pytest.fixture
def states(monkeypatch):
    def find(*names):
        found = installed_states(PluginRegistry(), frozenset({"train"}))
        return [(str(state.entry), state.state, state.problem) for state in found if state.entry.name in names]

    return find


def test_working_plugin_is_ok_and_was_not_imported(install, states):
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": PUBLISHER})
    assert states("loud") == [("publisher/loud", "ok", None)]
    assert "loud_module" not in sys.modules


@pytest.mark.parametrize(
    ("value", "missing"),
    [
        ("no_such_package.plugin", "no_such_package"),
        ("loud_module.plugin", "loud_module.plugin"),
        ("loud_module.a.b", "loud_module.a"),
        ("json.no_such_module:attribute", "json.no_such_module"),
    ],
)
def test_plugin_whose_module_is_missing_is_broken(install, states, value, missing):
    install("loud", {("publisher", "loud"): value}, {"loud_module": PUBLISHER})
    assert states("loud") == [("publisher/loud", "broken", f"there is no module {missing}")]


def test_plugin_in_a_package_is_found_without_importing_the_package(install, states, tmp_path):
    package = tmp_path / "site" / "loud_package" / "inner"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "plugin.py").write_text(PUBLISHER)
    install("loud", {("publisher", "loud"): "loud_package.inner.plugin"})
    assert states("loud") == [("publisher/loud", "ok", None)]
    assert "loud_package" not in sys.modules


def test_name_against_the_rules_is_broken(install, states):
    install("loud", {("publisher", "Loud_One"): "loud_module"}, {"loud_module": PUBLISHER})
    ((_, state, problem),) = states("Loud_One")
    assert (state, problem.startswith("has a bad name")) == ("broken", True)


def test_two_of_a_name_are_a_collision_that_names_the_other(install, states):
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": PUBLISHER})
    install("louder", {("publisher", "loud"): "loud_module"}, version="2.0")
    assert states("loud") == [
        ("publisher/loud", "collision", "also offered by louder 2.0"),
        ("publisher/loud", "collision", "also offered by loud 1.0"),
    ]


def test_command_that_kladml_has_itself_is_a_collision(install, states):
    install("loud", {("commands", "train"): "loud_module"}, {"loud_module": PUBLISHER})
    assert states("train") == [("commands/train", "collision", "also offered by KladML itself")]


def test_disabled_plugin_is_disabled_and_no_rival(install, states, monkeypatch):
    monkeypatch.setenv("KLADML_DISABLED_PLUGINS", "louder")
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": PUBLISHER})
    install("louder", {("publisher", "loud"): "loud_module"})
    assert states("loud") == [("publisher/loud", "ok", None), ("publisher/loud", "disabled", None)]


def timed(name):
    (found,) = [s for s in installed_states(PluginRegistry(), frozenset()) if s.entry.name == name]
    return timed_state(found)


@pytest.fixture
def visible(monkeypatch, tmp_path):
    """Let other processes see the made-up distributions as well."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def test_loading_is_timed_in_a_process_of_its_own(install, visible):
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": PUBLISHER})
    found = timed("loud")
    assert (found.state, found.problem) == ("ok", None)
    assert found.milliseconds > 0
    assert "loud_module" not in sys.modules


def test_lifecycle_hooks_are_timed_too(install, visible):
    install("watcher", {("hooks", "watcher"): "watcher_module"}, {"watcher_module": HOOKS})
    assert timed("watcher").milliseconds > 0


def test_plugin_that_fails_to_load_is_broken_with_its_cause(install, visible):
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": "import no_such_sdk"})
    found = timed("loud")
    assert found.state == "broken"
    assert "No module named 'no_such_sdk'" in found.problem


def test_plugin_that_ends_the_process_is_broken(install, visible):
    install("loud", {("publisher", "loud"): "loud_module"}, {"loud_module": "import os; os._exit(9)"})
    found = timed("loud")
    assert (found.state, found.problem) == ("broken", "ended the process with the status 9")
