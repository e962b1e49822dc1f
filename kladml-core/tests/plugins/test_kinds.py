import inspect
import json
import subprocess
import sys

import pytest

import kladml.interfaces
from kladml.errors import UnknownPluginError
from kladml.plugins import BACKEND_KINDS, KINDS, spec
from kladml.plugins.kinds import PluginKind, kind_named
from kladml.plugins.known import _KNOWN, distribution_for


def test_kinds_are_those_of_the_design():
    assert {kind.group for kind in KINDS.values()} == {
        "kladml.storage",
        "kladml.config",
        "kladml.tracker",
        "kladml.publisher",
        "kladml.catalog",
        "kladml.hooks",
        "kladml.commands",
    }


@pytest.mark.parametrize("kind", BACKEND_KINDS, ids=lambda kind: kind.name)
def test_backend_kind_has_its_interface_and_its_hook(kind):
    assert kind.interface is getattr(kladml.interfaces, f"{kind.name.capitalize()}Interface")
    assert kind.hook == f"kladml_register_{kind.name}"
    hook = getattr(spec, kind.hook)
    assert hook.__annotations__["return"] == f"type[{kind.interface.__name__}]"


def test_every_hook_is_specified_and_says_when_it_is_called():
    hooks = {name: hook for name, hook in vars(spec).items() if name.startswith("kladml_")}
    registrations = {kind.hook for kind in KINDS.values() if kind.hook}
    events = {"kladml_run_started", "kladml_epoch_ended", "kladml_checkpoint_saved", "kladml_run_ended"}
    assert hooks.keys() == registrations | events
    for name, hook in hooks.items():
        assert "called" in hook.__doc__.lower(), name
        for parameter in inspect.signature(hook).parameters:
            assert f"{parameter}:" in hook.__doc__, (name, parameter)


def test_unknown_kind_says_which_there_are():
    with pytest.raises(UnknownPluginError, match="'sotrage' is no kind of plugin; choose one of storage, config, "):
        kind_named("sotrage")


@pytest.mark.parametrize("name", ["hooks", "commands"])
def test_kind_without_interface_says_so(name):
    with pytest.raises(UnknownPluginError, match=f"plugins of kind '{name}' have no backend interface"):
        _ = kind_named(name).interface


@pytest.mark.parametrize(("current", "accepted"), [(1, (1,)), (2, (1, 2)), (5, (4, 5))])
def test_the_current_version_and_the_one_before_are_accepted(current, accepted):
    assert PluginKind("storage", api_version=current).accepted_versions == accepted


def test_known_names_are_valid_and_of_known_kinds():
    for kind, name in _KNOWN:
        assert kind_named(kind).interface
        assert distribution_for(kind, name).startswith("kladml-backends-")
    assert distribution_for("storage", "nothing") is None


def test_importing_the_plugins_package_loads_no_heavy_module():
    heavy = ["torch", "accelerate", "numpy", "omegaconf", "structlog", "importlib_metadata", "click", "rich", "yaml"]
    source = f"import json, sys, kladml.plugins; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
