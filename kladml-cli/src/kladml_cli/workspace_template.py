"""The files of a new workspace. The configuration is written from the schema, so that both say the same."""

from __future__ import annotations

import dataclasses
import textwrap
import typing
from typing import Any

import yaml

from kladml.config import RunConfig, schema_keys

IGNORE_ALL = "# KladML's own state: databases and checkpoints, which do not belong into version control.\n*\n"

HEAD = """\
# The configuration of this KladML workspace.
#
# Everything is optional: a commented key shows its default. To set one, take away the '# ' before it and
# before the sections that it stands in. What stands here holds for all runs. Over it come, in this order:
#
#   the configuration given to 'kladml train': a file, or the name of one in data/configs,
#     so that 'kladml train digits' reads data/configs/digits.yaml;
#   a profile; KLADML_* environment variables (KLADML_TRAINING__MAX_EPOCHS=5);
#   and --set training.max_epochs=5.
#
# 'kladml config new --data NAME' writes a configuration for a data set, and 'kladml config list' shows those
# there are. 'kladml config show' prints what is in force and where it comes from, 'kladml config check CONFIG'
# finds mistakes, and 'kladml plugins list' shows which names can be used below.

# Backends. 'use' selects one by name, or none; a tracker or publisher may also be a list of names. Each
# backend has a section of its own, and only that of a selected one counts: 'kladml plugins show storage s3'
# lists its settings. Secrets belong into the environment, never in here.

storage: # where a run's files go
  use: local
  # s3:
  #   bucket: my-bucket

tracker: # where parameters and metrics go
  use: local
  # mlflow:
  #   tracking_uri: http://127.0.0.1:5000

publisher: # who is told of the progress
  use: console
  # redis:
  #   url: redis://127.0.0.1:6379/0

catalog: # who numbers the runs
  use: sql

# Profiles are named sets of choices: 'kladml train train.yaml --profile prod'.

# profiles:
#   prod:
#     storage: s3
#     tracker: mlflow

"""

_WIDTH = 120


def configuration_template() -> str:
    """Return a `kladml.yaml` that says what every key does."""
    return HEAD + "\n".join(_section(RunConfig, "", 0)) + "\n"


def _section(schema: type[Any], prefix: str, depth: int) -> list[str]:
    """Return the keys of a dataclass, commented out; sections after the plain keys."""
    hints = typing.get_type_hints(schema)
    keys = schema_keys(schema)
    plain, sections = [], []
    for field in dataclasses.fields(schema):
        hint = hints[field.name]
        doc = field.metadata.get("doc", "")
        if dataclasses.is_dataclass(hint):
            gap = [""] if depth == 0 else []
            inner = _section(typing.cast("type[Any]", hint), f"{prefix}{field.name}.", depth + 1)
            sections += [*gap, *_key(f"{field.name}:", doc, depth), *inner]
        else:
            key = keys[field.name]
            says_choices = all(choice in doc for choice in key.choices)
            choices = "" if says_choices else f" One of {', '.join(key.choices)}."
            plain += _key(f"{field.name}: {_value(key.default)}", doc + choices, depth)
    return plain + sections


def _key(text: str, doc: str, depth: int) -> list[str]:
    indent = "# " + "  " * depth
    line = f"{indent}{text}"
    if len(line) + len(doc) + 4 <= _WIDTH:
        return [f"{line}  # {doc}"]
    return [*textwrap.wrap(doc, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "), line]


def _value(value: Any) -> str:
    """Return a value as YAML on one line."""
    if value == "no":  # older YAML takes it for false
        return '"no"'
    text: str = yaml.safe_dump(value, default_flow_style=True)
    return text.removesuffix("\n").removesuffix("\n...")
