"""Reading YAML as data, with the file and line of every value, and writing it so that it reads the same."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import yaml

from kladml.errors import ConfigFileError
from kladml.interfaces.config import ConfigEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?\.inf|\.nan", re.IGNORECASE)
_LINE_BREAKS = re.compile("[\x85\u2028\u2029]")
_INT = re.compile(r"[-+]?\d+|0o[0-7]+|0x[0-9a-fA-F]+")


class _Yaml12Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2's scalars: `no` is text and `1e-3` is a number."""


class _CarefulDumper(yaml.SafeDumper):
    """The safe dumper, which also quotes text that only YAML 1.2 would take for something else."""


_Yaml12Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("tag:yaml.org,2002:int", _INT, "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+.0123456789"),
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
):
    for _class in (_Yaml12Loader, _CarefulDumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern.pattern})$", _pattern.flags), list(_first))


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node)).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).lower()
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Yaml12Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


class Unparsed(str):
    """Text from an environment variable or a flag, which becomes a value only when its key's type is known."""

    __slots__ = ()

    def parsed(self) -> Any:
        """Return the text as a YAML scalar or list; text that is neither stays text."""
        try:
            value = yaml.load(self, _Yaml12Loader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, ValueError):
            return str(self)
        return str(self) if isinstance(value, dict) else value


def read_yaml(path: Path) -> list[ConfigEntry]:
    """Read a YAML file as one entry per leaf, with `file:line` as origin.

    Args:
        path: The file.

    Raises:
        ConfigFileError: The file is absent or unreadable, is no YAML mapping, or names a key twice.
    """
    shown = _shown(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problem = f"there is no configuration file {shown}"
        raise ConfigFileError(problem, next_step="check the path, or write one with kladml init") from None
    except (OSError, UnicodeDecodeError) as error:
        problem = f"the configuration file {shown} cannot be read: {error}"
        raise ConfigFileError(problem, next_step="check that it is a readable UTF-8 text file") from error
    loader = _Yaml12Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            problem = f"{shown} holds no mapping of keys to values"
            raise ConfigFileError(problem, next_step="start it with a section such as training:")
        return list(_leaves(loader, root, "", shown, {}))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{shown}:{mark.line + 1}" if mark else shown
        reason = getattr(error, "problem", None) or str(error)
        problem = f"{where} is not valid YAML: {reason}"
        raise ConfigFileError(problem, next_step="correct that line") from error
    finally:
        loader.dispose()


def dump_yaml(value: Any) -> str:
    """Return plain data as YAML that readers of YAML 1.1 and of 1.2 understand alike, keys in their order."""
    text: str = yaml.dump(value, Dumper=_CarefulDumper, sort_keys=False, allow_unicode=True)
    if _LINE_BREAKS.search(text):  # PyYAML writes these as they are and then reads them as line breaks
        text = yaml.dump(value, Dumper=_CarefulDumper, sort_keys=False, allow_unicode=False)
    return text


def _leaves(
    loader: _Yaml12Loader, node: yaml.MappingNode, prefix: str, shown: str, seen: dict[str, int]
) -> Iterator[ConfigEntry]:
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            problem = f"{shown}:{key_node.start_mark.line + 1} has a key that is no plain text"
            raise ConfigFileError(problem, next_step="write key: value")
        key = prefix + str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in seen:
            problem = f"{shown}:{line} gives {key} a second time, after line {seen[key]}"
            raise ConfigFileError(problem, next_step="delete one of them")
        seen[key] = line
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield from _leaves(loader, value_node, f"{key}.", shown, seen)
        else:
            yield ConfigEntry(key, loader.construct_object(value_node, deep=True), f"{shown}:{line}")


def _shown(path: Path) -> str:
    """Return the path as a person at the current folder would write it."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive on Windows
        return str(path)
    return str(path) if relative.startswith("..") else relative
