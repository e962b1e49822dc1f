"""The contract of configuration sources."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from kladml.config import Unparsed
from kladml.errors import CapabilityError
from kladml.testing.backend import BackendContract

if TYPE_CHECKING:
    from kladml.interfaces import ConfigInterface

_VALUES: tuple[Any, ...] = (
    *(3, 0.001, 1e300, True, "text", "naïve 模型 🚀", "a: b # c", [1, 2.5, "three"]),
    *(0, 0.0, False, "", None, []),
)


class ConfigContract(BackendContract):
    """The rules for a configuration source. A subclass defines the fixture `config`.

    The source may already have values: each case keeps to a section of its own, the fixture `section`.
    """

    kind: ClassVar[str] = "config"
    optional: ClassVar[Mapping[str, tuple[str, ...]]] = {"entries": ("entries",)}

    @pytest.fixture
    def config(self) -> ConfigInterface:
        """The source under test: a new object for each case."""
        raise NotImplementedError(self._missing("config"))

    @pytest.fixture
    def backend(self, config: ConfigInterface) -> ConfigInterface:
        """The source, for the rules of all kinds."""
        return config

    @pytest.fixture
    def section(self) -> str:
        """How the keys of one case start; override it where a source takes only keys of its own."""
        return f"contract_{uuid.uuid4().hex}"

    def test_unset_key_gives_the_default(self, config: ConfigInterface, section: str) -> None:
        """A key that the source does not have gives the very default that was passed, and None without one."""
        default = object()
        assert config.get(f"{section}.absent") is None
        assert config.get(f"{section}.absent", default) is default

    @pytest.mark.parametrize("value", _VALUES, ids=repr)
    def test_value_comes_back_with_its_type(self, config: ConfigInterface, section: str, value: object) -> None:
        """What was set is what `get` returns, of the same type; the default is for absent keys only.

        Values that count as false (0, False, "", None) are values: `patience: 0` must not become 10.
        """
        config.set(f"{section}.key", copy.deepcopy(value))
        found = config.get(f"{section}.key", "the default")
        assert found == value
        assert type(found) is type(value)

    def test_last_value_wins(self, config: ConfigInterface, section: str) -> None:
        """Setting a key again replaces its value, also by one of another type."""
        config.set(f"{section}.key", [1, 2])
        config.set(f"{section}.key", "again")
        assert config.get(f"{section}.key") == "again"

    def test_nested_keys_are_separate(self, config: ConfigInterface, section: str) -> None:
        """Dotted keys reach into sections; neighbours and keys that start alike keep their own values."""
        values = {"training.max_epochs": 3, "training.early_stopping.patience": 10, "train": "x", "training_set": "y"}
        for key, value in values.items():
            config.set(f"{section}.{key}", value)
        assert {key: config.get(f"{section}.{key}") for key in values} == values
        assert config.get(f"{section}.training.max", "absent") == "absent"
        assert config.get(f"{section}.max_epochs", "absent") == "absent"

    def test_section_gives_its_values_or_the_default(self, config: ConfigInterface, section: str) -> None:
        """The key of a whole section gives a mapping with what is in it, or the default."""
        config.set(f"{section}.optimizer.name", "adamw")
        default = object()
        found = config.get(section, default)
        assert found is default or (isinstance(found, Mapping) and found["optimizer"]["name"] == "adamw")

    def test_get_changes_nothing(self, config: ConfigInterface, section: str) -> None:
        """A default that was passed once does not become the value."""
        config.get(f"{section}.key", "a default")
        assert config.get(f"{section}.key") is None

    def test_entries(self, config: ConfigInterface, section: str) -> None:
        """`entries` lists each leaf once, with where it comes from and the value that `get` gives.

        Text of an environment variable may be `Unparsed` there, and `get` then gives what it parses to.

        A source that cannot list its entries says so; a run then asks it key by key.
        """
        values: dict[str, Any] = {f"{section}.a": 0, f"{section}.b.c": "text", f"{section}.b.d": [1, 2]}
        for key, value in values.items():
            config.set(key, value)
        if "entries" not in config.capabilities:
            with pytest.raises(CapabilityError, match="entries"):
                config.entries()
            return
        entries = list(config.entries())
        keys = [entry.key for entry in entries]
        assert len(keys) == len(set(keys))
        assert {entry.key: entry.value for entry in entries if entry.key in values} == values
        assert [entry.key for entry in entries if config.get(entry.key, entries) != _parsed(entry.value)] == []
        assert [entry.key for entry in entries if not _is_text(entry.origin)] == []


def _parsed(value: Any) -> Any:
    return value.parsed() if isinstance(value, Unparsed) else value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
