"""Configuration from a YAML file and the environment."""

from __future__ import annotations

import pytest

from kladml.errors import ConfigFileError
from kladml.interfaces import BackendContext
from kladml.testing import ConfigContract
from kladml.workspace import Workspace
from kladml_backends_local import YamlConfig
from kladml_backends_local.settings import YamlConfigSettings

TEXT = """\
training:
  max_epochs: 100
  mixed_precision: no   # YAML 1.2: text
  early_stopping:
    enabled: true
model:
  args: {}
"""


class TestYamlConfig(ConfigContract):
    @pytest.fixture
    def config(self, tmp_path):
        path = tmp_path / "kladml.yaml"
        path.write_text(TEXT, encoding="utf-8")
        return YamlConfig(path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "kladml.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_values_and_sections_of_the_file(path):
    config = YamlConfig(path)
    assert config.get("training.max_epochs") == 100
    assert config.get("training") == {
        "max_epochs": 100,
        "mixed_precision": "no",
        "early_stopping": {"enabled": True},
    }
    assert config.get("model.args") == {}
    assert config.get("absent", 1) == 1


def test_environment_stands_above_the_file(path, monkeypatch):
    monkeypatch.setenv("KLADML_TRAINING__MAX_EPOCHS", "5")
    monkeypatch.setenv("KLADML_MODEL__ARGS__LAYERS", "[64, 32]")
    config = YamlConfig(path)
    assert config.get("training.max_epochs") == 5
    assert config.get("model") == {"args": {"layers": [64, 32]}}
    assert config.get("training.early_stopping.enabled") is True


def test_value_that_was_set_stands_above_the_environment(path, monkeypatch):
    monkeypatch.setenv("KLADML_TRAINING__MAX_EPOCHS", "5")
    config = YamlConfig(path)
    config.set("training.max_epochs", 7)
    assert config.get("training")["max_epochs"] == 7
    assert path.read_text(encoding="utf-8") == TEXT


def test_entries_know_where_they_come_from(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setenv("KLADML_TRAINING__MAX_EPOCHS", "5")
    config = YamlConfig(path)
    config.set("run_name", "again")
    assert {entry.key: entry.origin for entry in config.entries()} == {
        "training.max_epochs": "$KLADML_TRAINING__MAX_EPOCHS",
        "training.mixed_precision": "kladml.yaml:3",
        "training.early_stopping.enabled": "kladml.yaml:5",
        "model.args": "kladml.yaml:7",
        "run_name": "YamlConfig.set",
    }


def test_default_is_the_workspaces_file_from_any_folder_in_it(path, monkeypatch):
    Workspace.create(path.parent)
    (path.parent / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(path.parent / "deep" / "er")
    config = YamlConfig()
    assert config.path == path
    assert config.get("training.max_epochs") == 100


def test_default_without_a_workspace_is_the_current_folder_and_makes_none(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert YamlConfig().get("training.max_epochs") == 100
    assert list(path.parent.iterdir()) == [path]


def test_absent_default_is_empty_and_an_absent_file_that_was_named_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(YamlConfig().entries()) == []
    with pytest.raises(ConfigFileError, match=r"other\.yaml"):
        YamlConfig("other.yaml")
    with pytest.raises(ConfigFileError, match=r"kladml\.yaml"):
        YamlConfig("kladml.yaml")


def test_settings_are_relative_to_the_workspace(path, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    context = BackendContext(workspace=path.parent)
    assert YamlConfig.from_settings(YamlConfigSettings(), context).get("training.max_epochs") == 100
    assert YamlConfig.from_settings(YamlConfigSettings("kladml.yaml"), context).get("training.max_epochs") == 100
    with pytest.raises(ConfigFileError):
        YamlConfig.from_settings(YamlConfigSettings("absent.yaml"), context)
    path.unlink()
    assert list(YamlConfig.from_settings(YamlConfigSettings(), context).entries()) == []


def test_malformed_file_names_its_line(path):
    path.write_text("training:\n  max_epochs: [1,\n", encoding="utf-8")
    with pytest.raises(ConfigFileError, match=r"kladml\.yaml:\d"):
        YamlConfig(path)
