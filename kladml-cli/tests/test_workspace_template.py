"""The template of kladml.yaml: valid as it is, and with every comment that holds a key taken away."""

from __future__ import annotations

import re

import pytest

from kladml.config import RunConfig, read_yaml, resolve, schema_keys
from kladml_cli.workspace_template import configuration_template


@pytest.fixture
def entries(tmp_path):
    def read(text):
        (tmp_path / "kladml.yaml").write_text(text, encoding="utf-8")
        return read_yaml(tmp_path / "kladml.yaml")

    return read


def test_template_selects_the_defaults_and_nothing_else(entries):
    resolved = resolve(entries(configuration_template()))
    assert {key: entry.value for key, entry in resolved.entries.items()} == {
        "storage.use": "local",
        "tracker.use": "local",
        "publisher.use": "console",
        "catalog.use": "sql",
    }


def test_template_with_its_comments_taken_away_says_the_default_of_every_key(entries):
    text = configuration_template()
    head, _, keys = text.partition("# project:")
    uncommented = "".join(re.sub(r"^# ", "", line) for line in f"# project:{keys}".splitlines(keepends=True))
    found = {entry.key: entry.value for entry in entries(head + uncommented)}
    expected = {key.key: key.default for key in schema_keys(RunConfig).values()}
    assert {key: found[key] for key in expected} == expected
    assert resolve(entries(head + uncommented)).run == RunConfig()


def test_template_says_what_every_key_does():
    text = " ".join(configuration_template().replace("#", " ").split())
    assert [key.key for key in schema_keys(RunConfig).values() if " ".join(key.doc.split()) not in text] == []


def test_lines_of_the_template_fit_an_editor():
    assert max(map(len, configuration_template().splitlines())) <= 120
