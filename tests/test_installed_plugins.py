"""The plugins of all our distributions, installed together."""

import pytest

from kladml.interfaces import Backend
from kladml.plugins import BACKEND_KINDS, PluginIndex, PluginRegistry
from kladml.plugins.known import distribution_for

OURS = [entry for entry in PluginIndex.scan(disabled=()).entries if entry.distribution.startswith("kladml")]


def test_every_kind_of_backend_has_one():
    assert {entry.kind for entry in OURS} == {kind.name for kind in BACKEND_KINDS}


@pytest.mark.parametrize("entry", OURS, ids=str)
def test_an_error_about_a_missing_plugin_names_the_distribution_that_ships_it(entry):
    assert distribution_for(entry.kind, entry.name) == entry.distribution


@pytest.mark.parametrize("entry", OURS, ids=str)
def test_it_loads_and_says_what_it_is(entry):
    backend_class = PluginRegistry().load(entry.kind, entry.name)
    assert issubclass(backend_class, Backend)
    assert (backend_class.__doc__ or "").strip()
