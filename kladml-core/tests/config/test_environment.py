"""Configuration from environment variables."""

from kladml.config import read_environment
from kladml.config.environment import RESERVED


def test_a_double_underscore_is_a_dot():
    (entry,) = read_environment({"KLADML_TRAINING__MAX_EPOCHS": "5", "PATH": "/bin"})
    assert (entry.key, entry.value, entry.origin) == ("training.max_epochs", "5", "$KLADML_TRAINING__MAX_EPOCHS")


def test_reserved_and_empty_variables_are_no_keys():
    environ = dict.fromkeys(RESERVED, "x") | {"KLADML_RUN_NAME": ""}
    assert read_environment(environ) == []


def test_the_process_environment_is_the_default(monkeypatch):
    monkeypatch.setenv("KLADML_RUN_NAME", "from-outside")
    assert "from-outside" in [entry.value for entry in read_environment()]
