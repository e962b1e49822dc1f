"""What importing the package and its plugin modules costs, and how the registry resolves them."""

from __future__ import annotations

import pytest

import kladml_backends_local
from kladml.interfaces import Backend, settings_of
from kladml.plugins import PluginEntry, PluginIndex, PluginRegistry

PLUGINS = [
    ("storage", "local", "plugin", "LocalStorage"),
    ("config", "yaml", "plugin_yaml", "YamlConfig"),
    ("config", "env", "plugin_env", "EnvConfig"),
    ("tracker", "local", "plugin", "LocalTracker"),
    ("catalog", "sql", "plugin", "SqlCatalog"),
]
HEAVY = ("mlflow", "sqlalchemy", "alembic", "sqlite3", "yaml", "omegaconf", "torch", "pandas", "numpy")


@pytest.fixture
def registry():
    entries = [
        PluginEntry(kind, name, "kladml-backends-local", "1.2.3", f"kladml_backends_local.{module}")
        for kind, name, module, _ in PLUGINS
    ]
    return PluginRegistry(PluginIndex(entries))


@pytest.mark.parametrize(("kind", "name", "module", "class_name"), PLUGINS)
def test_registry_resolves_every_plugin(registry, kind, name, module, class_name):
    assert registry.load(kind, name) is getattr(kladml_backends_local, class_name)


@pytest.mark.parametrize(("kind", "name", "module", "class_name"), PLUGINS)
def test_every_setting_is_documented_and_has_a_default(kind, name, module, class_name):
    settings = settings_of(getattr(kladml_backends_local, class_name))
    assert settings
    assert [setting.name for setting in settings if setting.required or not setting.doc.endswith(".")] == []


def test_package_exports_the_five_backends():
    exported = [getattr(kladml_backends_local, name) for name in kladml_backends_local.__all__]
    assert all(issubclass(each, Backend) for each in exported)
    assert set(kladml_backends_local.__all__) == {plugin[3] for plugin in PLUGINS}
    assert set(kladml_backends_local.__all__) <= set(dir(kladml_backends_local))


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="S3Storage"):
        kladml_backends_local.S3Storage  # noqa: B018 - the access is what is tested


def test_package_and_plugin_modules_import_nothing_heavy(run_python):
    program = f"""
import sys
import kladml_backends_local
from kladml_backends_local import plugin, plugin_env, plugin_yaml, settings
print(*[name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run_python(program) == "\n"


@pytest.mark.parametrize(
    ("class_name", "forbidden"),
    [
        ("LocalStorage", HEAVY),
        ("YamlConfig", ("mlflow", "sqlalchemy", "alembic", "sqlite3", "torch")),
        ("EnvConfig", ("mlflow", "sqlalchemy", "alembic", "sqlite3", "torch")),
        ("LocalTracker", ("mlflow", "sqlalchemy", "alembic", "torch")),
        ("SqlCatalog", ("mlflow", "alembic", "torch")),
    ],
)
def test_class_imports_only_what_it_needs_itself(run_python, class_name, forbidden):
    program = f"""
import sys
from kladml_backends_local import {class_name}
{class_name}()
print(*[name for name in {forbidden!r} if name in sys.modules])
"""
    assert run_python(f"import logging; logging.disable()\n{program}") == "\n"
