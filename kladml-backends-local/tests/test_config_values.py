"""A tree of values by dotted key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kladml.interfaces import ConfigEntry
from kladml_backends_local.config_values import ConfigValues

KEYS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)


def test_section_is_a_nested_mapping():
    values = ConfigValues([ConfigEntry("a.b.c", 1, "x:1"), ConfigEntry("a.d", [2], "x:2"), ConfigEntry("ab", 3, "x:3")])
    assert values.get("a") == {"b": {"c": 1}, "d": [2]}
    assert values.get("a.b") == {"c": 1}
    assert values.get("a.b.c") == 1
    assert values.get("a.b.c.d", "default") == "default"


def test_mapping_replaces_the_whole_section():
    values = ConfigValues([ConfigEntry("a.b", 1, "x:1"), ConfigEntry("a.c", 2, "x:2")])
    values.set("a", {"c": {"d": 3}, "e": {}}, "set")
    assert values.get("a") == {"c": {"d": 3}, "e": {}}
    assert [(entry.key, entry.value, entry.origin) for entry in values.entries()] == [
        ("a.c.d", 3, "set"),
        ("a.e", {}, "set"),
    ]


@given(st.lists(st.tuples(KEYS, st.integers())))
def test_last_value_wins_and_no_key_stands_below_a_value(pairs):
    values = ConfigValues()
    for key, value in pairs:
        values.set(key, value, "set")
        assert values.get(key) == value
    keys = [entry.key for entry in values.entries()]
    assert len(set(keys)) == len(keys)
    assert not [(one, other) for one in keys for other in keys if other.startswith(f"{one}.")]
