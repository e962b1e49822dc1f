import pytest

from kladml.interfaces import ConfigInterface
from kladml.testing import ConfigContract
from kladml.testing.fakes import MemoryConfig


class MinimalConfig(ConfigInterface):
    """The two abstract methods and nothing more."""

    def __init__(self):
        self.values = {}

    def get(self, key, default=None):
        return self.values.get(key, default)

    def set(self, key, value):
        self.values[key] = value


class TestMemoryConfig(ConfigContract):
    @pytest.fixture
    def config(self):
        return MemoryConfig({"already.there": 1})


class TestMinimalConfig(ConfigContract):
    @pytest.fixture
    def config(self):
        return MinimalConfig()


CONTRACT = """
import pytest

from kladml.interfaces import ConfigEntry
from kladml.testing import ConfigContract
from kladml.testing.fakes import MemoryConfig
{broken}

class TestBroken(ConfigContract):
    @pytest.fixture
    def config(self):
        return Broken()
"""


def broken(source):
    return CONTRACT.format(broken=source)


def test_contract_itself_fails_nothing(failing_cases):
    assert failing_cases(broken("class Broken(MemoryConfig): pass")) == set()


def test_source_that_takes_falsy_values_for_absent_ones(failing_cases):
    source = """
class Broken(MemoryConfig):
    def get(self, key, default=None):
        return super().get(key) or default
"""
    assert failing_cases(broken(source)) == {"test_value_comes_back_with_its_type", "test_entries"}


def test_source_that_forgets_types(failing_cases):
    source = """
class Broken(MemoryConfig):
    def set(self, key, value):
        super().set(key, str(value))
"""
    cases = {"test_value_comes_back_with_its_type", "test_nested_keys_are_separate", "test_entries"}
    assert failing_cases(broken(source)) == cases


def test_source_that_knows_only_the_last_part_of_a_key(failing_cases):
    source = """
class Broken(MemoryConfig):
    def get(self, key, default=None):
        return super().get(key.rpartition(".")[2], default)

    def set(self, key, value):
        super().set(key.rpartition(".")[2], value)
"""
    assert failing_cases(broken(source)) == {"test_nested_keys_are_separate", "test_entries"}


def test_source_that_keeps_the_first_value(failing_cases):
    source = """
class Broken(MemoryConfig):
    def set(self, key, value):
        self.values.setdefault(key, value)
"""
    assert failing_cases(broken(source)) == {"test_last_value_wins"}


def test_source_that_remembers_defaults(failing_cases):
    source = """
class Broken(MemoryConfig):
    def get(self, key, default=None):
        return self.values.setdefault(key, default)
"""
    cases = {"test_get_changes_nothing", "test_unset_key_gives_the_default"}
    assert failing_cases(broken(source)) == cases


def test_source_whose_entries_are_not_what_it_gives(failing_cases):
    source = """
class Broken(MemoryConfig):
    def entries(self):
        return [ConfigEntry(entry.key, str(entry.value), "") for entry in super().entries()]
"""
    assert failing_cases(broken(source)) == {"test_entries"}
