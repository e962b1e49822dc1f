"""Configuration from environment variables alone."""

from __future__ import annotations

import os

import pytest

from kladml.interfaces import BackendContext
from kladml.testing import ConfigContract
from kladml_backends_local import EnvConfig
from kladml_backends_local.settings import EnvConfigSettings


class TestEnvConfig(ConfigContract):
    @pytest.fixture
    def config(self):
        return EnvConfig()


def test_variables_become_values(monkeypatch):
    monkeypatch.setenv("KLADML_TRAINING__MAX_EPOCHS", "5")
    monkeypatch.setenv("KLADML_TRAINING__COMPILE", "true")
    monkeypatch.setenv("KLADML_EXPERIMENT", "digits")
    config = EnvConfig()
    assert config.get("training.max_epochs") == 5
    assert config.get("training") == {"max_epochs": 5, "compile": True}
    assert config.get("experiment") == "digits"
    assert [(entry.key, entry.origin) for entry in config.entries()] == [
        ("experiment", "$KLADML_EXPERIMENT"),
        ("training.compile", "$KLADML_TRAINING__COMPILE"),
        ("training.max_epochs", "$KLADML_TRAINING__MAX_EPOCHS"),
    ]


def test_set_leaves_the_environment_alone(monkeypatch):
    monkeypatch.setenv("KLADML_EXPERIMENT", "digits")
    config = EnvConfig()
    config.set("experiment", "again")
    assert config.get("experiment") == "again"
    assert os.environ["KLADML_EXPERIMENT"] == "digits"


def test_other_prefix(monkeypatch, tmp_path):
    monkeypatch.setenv("KLADML_EXPERIMENT", "digits")
    monkeypatch.setenv("TEAM_EXPERIMENT", "ours")
    config = EnvConfig.from_settings(EnvConfigSettings(prefix="TEAM_"), BackendContext(workspace=tmp_path))
    assert [(entry.key, entry.value) for entry in config.entries()] == [("experiment", "ours")]


def test_no_file_is_read(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kladml.yaml").write_text("experiment: digits\n", encoding="utf-8")
    assert EnvConfig().get("experiment") is None
