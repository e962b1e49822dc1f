import pytest

from kladml.errors import CapabilityError
from kladml.interfaces import ConfigInterface


class MinimalConfig(ConfigInterface):
    def get(self, key, default=None):
        return default

    def set(self, key, value): ...


def test_interface_has_exactly_these_abstract_methods():
    assert ConfigInterface.__abstractmethods__ == {"get", "set"}


def test_source_that_cannot_list_its_entries_says_so_at_the_call():
    with pytest.raises(CapabilityError, match=r"MinimalConfig cannot list its entries: .* 'entries'"):
        MinimalConfig().entries()
