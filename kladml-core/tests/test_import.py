"""Importing the core costs little and does nothing."""

import subprocess
import sys

import pytest

import kladml

HEAVY = {
    "torch",
    "accelerate",
    "numpy",
    "omegaconf",
    "yaml",
    "structlog",
    "safetensors",
    "pluggy",
    "importlib_metadata",
}


def modules_after(code):
    script = f"import sys\n{code}\nprint(*sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_kladml_loads_no_dependency():
    assert not HEAVY & modules_after("import kladml")


def test_the_interfaces_need_the_standard_library_alone():
    loaded = modules_after("import kladml.interfaces")
    assert not HEAVY & loaded


def test_a_backend_author_never_loads_torch():
    code = "from kladml import StorageInterface, TrackerInterface, hookimpl\nfrom kladml.plugins import PluginRegistry"
    assert not {"torch", "accelerate", "omegaconf", "structlog"} & modules_after(code)


@pytest.mark.parametrize("name", kladml.__all__)
def test_everything_in_all_is_there(name):
    value = getattr(kladml, name)
    assert getattr(value, "__name__", name) == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Runner'"):
        kladml.Runner  # noqa: B018 - the access is the test
