"""The argument CONFIG: a file, or the name of a configuration in `data/configs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.completion.attach import completes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.workspace import Workspace

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


def config_argument(
    name: str = "config", *, metavar: str = "CONFIG", required: bool = True
) -> Callable[[Decorated], Decorated]:
    """Add an argument that is a file or a name; the command gets its text."""
    return click.argument(
        name, metavar=metavar if required else f"[{metavar}]", required=required, shell_complete=completes("configs")
    )


def file_of(config: str | None, start: Path | None) -> Path | None:
    """Return the file that CONFIG means, or None without any.

    Args:
        config: What was given.
        start: The folder that `--workspace` names, or None; a folder that is no workspace has files all the same.

    Raises:
        ConfigFileError: It is neither a file nor a name; names the nearest.
        WorkspaceError: `KLADML_WORKSPACE` names a folder that is no workspace.
    """
    from kladml.workspace import find_config

    return None if config is None else find_config(place_of(start), config)


def place_of(start: Path | None) -> Workspace:
    """Return the workspace around a folder, or one that the folder would be, which is not made."""
    from pathlib import Path

    from kladml.workspace import Workspace

    return Workspace.around(start) or Workspace((start or Path.cwd()).resolve())
