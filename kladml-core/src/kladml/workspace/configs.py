"""Run configurations by name: the files below `data/configs` in the workspace."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.errors import ConfigFileError

if TYPE_CHECKING:
    from kladml.workspace.workspace import Workspace

ENDING = ".yaml"

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}")
_SHOWN = 3


def configs_folder(workspace: Workspace) -> Path:
    """Return the folder of the configurations that have names."""
    return workspace.data / "configs"


def config_names(workspace: Workspace) -> list[str]:
    """Return the names of the workspace's configurations, sorted: paths in the folder, without `.yaml`."""
    folder = configs_folder(workspace)
    found = (path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob(f"*{ENDING}"))
    return sorted(name for name in found if is_config_name(name) and _file(workspace, name).is_file())


def is_config_name(text: str) -> bool:
    """Tell whether a text can be the name of a configuration, which never leads out of the folder."""
    parts = text.split("/")
    return all(_PART.fullmatch(part) and not part.endswith((".", " ")) for part in parts)


def config_file(workspace: Workspace, name: str) -> Path:
    """Return where the configuration of a name stands, whether or not it is there.

    Raises:
        ConfigFileError: It cannot be a name, or a link leads out of the workspace.
    """
    if not is_config_name(name):
        problem = f"{name!r} cannot be the name of a configuration"
        step = "use letters, digits, '.', '_', '-' or spaces, with '/' between folders, such as cnn/small"
        raise ConfigFileError(problem, next_step=step)
    file = _file(workspace, name)
    if not file.resolve().is_relative_to(workspace.root.resolve()):
        problem = f"the configuration '{name}' would stand outside of the workspace, at {file.resolve()}"
        raise ConfigFileError(problem, next_step="replace the link, or choose another name")
    return file


def find_config(workspace: Workspace, text: str) -> Path:
    """Return the file that a text means: a file by its path, else a configuration by its name, else a file of the root.

    A file of the workspace's root is found by its name from any folder, as it is listed.

    Raises:
        ConfigFileError: It means neither; names the nearest ones.
    """
    if _is_file(text):
        return Path(text)
    known = config_names(workspace)
    if text in known:
        file = config_file(workspace, text)
        return _from_here(file)
    if is_config_name(text) and "/" not in text and (file := workspace.root / text).is_file():
        return _from_here(file)
    bare = text.removesuffix(ENDING).removesuffix(".yml")
    last = {name.rpartition("/")[2]: name for name in known}
    near = get_close_matches(bare, known, n=_SHOWN) or [
        last[name] for name in get_close_matches(bare.rpartition("/")[2], last, n=_SHOWN)
    ]
    problem = f"there is no configuration {_quoted(text)}, neither as a file nor as a name in data/configs"
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ConfigFileError(problem, next_step=f"{hint}'kladml config list' shows those there are")


def _file(workspace: Workspace, name: str) -> Path:
    return configs_folder(workspace).joinpath(*f"{name}{ENDING}".split("/"))


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # such as a name that is too long, or holds a null byte
        return False


def _from_here(file: Path) -> Path:
    """Return a path as short as one would type it in the current folder."""
    try:
        relative = Path(os.path.relpath(file))
    except ValueError:  # another drive on Windows
        return file
    return file if relative.parts[:1] == ("..",) else relative


def _quoted(text: str) -> str:
    return repr(text) if not text.isprintable() else f"'{text}'"
