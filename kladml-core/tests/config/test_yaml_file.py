"""Reading YAML as data, with the line of every value."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kladml.config import Unparsed, dump_yaml, read_yaml
from kladml.errors import ConfigFileError


def write(folder, text):
    path = folder / "kladml.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def values(folder, text):
    return {entry.key: entry.value for entry in read_yaml(write(folder, text))}


def test_every_leaf_knows_its_file_and_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "training:\n  # a comment\n  max_epochs: 3\nstorage: {use: s3, s3: {bucket: ml}}\n")
    entries = {entry.key: entry.origin for entry in read_yaml(tmp_path / "kladml.yaml")}
    assert entries == {
        "training.max_epochs": "kladml.yaml:3",
        "storage.use": "kladml.yaml:4",
        "storage.s3.bucket": "kladml.yaml:4",
    }


def test_scalars_are_those_of_yaml_1_2(tmp_path):
    found = values(
        tmp_path,
        "a: no\nb: on\nc: true\nd: 1e-3\ne: 0o17\nf: 010\ng: ~\nh:\n"
        "i: .inf\nj: -.5\nk: '1'\nl: 0x1F\nm: 12:30\nn: 1_000\n",
    )
    assert found == {
        "a": "no",
        "b": "on",
        "c": True,
        "d": 0.001,
        "e": 15,
        "f": 10,
        "g": None,
        "h": None,
        "i": math.inf,
        "j": -0.5,
        "k": "1",
        "l": 31,
        "m": "12:30",
        "n": "1_000",
    }


def test_lists_are_leaves_and_empty_mappings_are_kept(tmp_path):
    assert values(tmp_path, "a: [1, {b: 2}]\nc: {}\n") == {"a": [1, {"b": 2}], "c": {}}


def test_an_empty_file_is_an_empty_configuration(tmp_path):
    assert values(tmp_path, "# nothing\n") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", "kladml.yaml:2 gives a a second time, after line 1"),
        ("t:\n  a: 1\n  b: 2\n  a: 3\n", "kladml.yaml:4 gives t.a a second time, after line 2"),
        ("a: [1\nb: 2\n", "kladml.yaml:2 is not valid YAML"),
        ("- 1\n", "holds no mapping"),
        ("? [a]\n: 1\n", "kladml.yaml:1 has a key that is no plain text"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_line(tmp_path, monkeypatch, text, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigFileError, match=said.replace("[", r"\[")):
        read_yaml(write(tmp_path, text))


def test_yaml_is_data_and_runs_no_code(tmp_path):
    target = tmp_path / "owned"
    text = f"a: !!python/object/apply:os.mkdir ['{target}']\n"
    with pytest.raises(ConfigFileError, match="python/object"):
        read_yaml(write(tmp_path, text))
    assert not target.exists()


def test_absent_and_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"there is no configuration file .*absent\.yaml"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigFileError, match="cannot be read"):
        read_yaml(tmp_path / "binary.yaml")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), plain, max_size=5))
def test_what_is_written_reads_the_same_here_and_with_pyyaml(tmp_path_factory, tree):
    text = dump_yaml(tree)
    assert values(tmp_path_factory.mktemp("yaml"), text) == tree
    assert yaml.safe_load(text) == tree


@pytest.mark.parametrize("text", ["no", "1e-3", "0o17", "010", "~", "true", "12:30", "1_000", "2020-01-01", "\x85", ""])
def test_text_that_looks_like_something_else_stays_text(tmp_path, text):
    assert values(tmp_path, dump_yaml({"a": text})) == {"a": text} == yaml.safe_load(dump_yaml({"a": text}))


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("1e-3", 0.001), ("true", True), ("[1, a]", [1, "a"]), ("a: b", "a: b"), ("[", "["), ("no", "no")],
)
def test_text_from_a_variable_becomes_a_scalar_or_list(text, value):
    assert Unparsed(text).parsed() == value
