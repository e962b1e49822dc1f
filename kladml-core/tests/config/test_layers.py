"""Reading sources of any make."""

import pytest

from kladml.config import from_overrides, from_source, resolve
from kladml.errors import ConfigError
from kladml.interfaces import ConfigInterface


class OnlyGetAndSet(ConfigInterface):
    """The shortest honest source."""

    def __init__(self, **values):
        self.values = values

    def get(self, key, default=None):
        return self.values.get(key, default)

    def set(self, key, value):
        self.values[key] = value


def test_a_source_with_only_the_abstract_methods_is_asked_for_every_key():
    source = OnlyGetAndSet(**{"training.max_epochs": 3, "storage": {"use": "s3", "s3": {"bucket": "ml"}}})
    source.set("model.args", {"width": 4})
    config = resolve(from_source(source))
    assert config.run.training.max_epochs == 3
    assert config.run.model.args == {"width": 4}
    assert config.selected("storage") == ["s3"]
    assert [entry.value for entry in config.settings("storage", "s3")] == ["ml"]
    assert {entry.origin for entry in config.entries.values()} == {"OnlyGetAndSet"}


@pytest.mark.parametrize("text", ["x", "=1", " =1"])
def test_an_override_without_key_or_value_is_refused(text):
    with pytest.raises(ConfigError, match="is no key=value"):
        from_overrides([text])


def test_an_override_may_hold_equal_signs():
    (entry,) = from_overrides(["run_name=a=b"])
    assert (entry.key, entry.value) == ("run_name", "a=b")
