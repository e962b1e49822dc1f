"""What configurations are compared: a file, or what a run was configured with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.config import RunConfig, read_yaml, schema_keys
from kladml.config.layers import flatten
from kladml.config.secrets import redact
from kladml.errors import ConfigFileError, WorkspaceError
from kladml.history.comparison import differences
from kladml.runner.record import CONFIG
from kladml.workspace import find_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.history.comparison import Difference
    from kladml.interfaces import CatalogRun, ConfigEntry
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration


@dataclass(frozen=True)
class Side:
    """One of the configurations that are compared.

    Attributes:
        label: What was asked for.
        kind: `config` or `run`.
        source: The file, or the run's address.
        values: Every value by its key, secrets masked.
        origins: Where values come from, as far as it is known: file and line, variable or flag.
        run: The run, or None.
    """

    label: str
    kind: str
    source: str
    values: dict[str, Any]
    origins: dict[str, str]
    run: CatalogRun | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what it is, without the values, as JSON has it."""
        return {"label": self.label, "kind": self.kind, "source": self.source}


def side_of(text: str, workspace: Workspace, load: Callable[[Path], Configuration], find: Callable[[str], Any]) -> Side:
    """Return the configuration that a text means: a file, a name, or a run by its address.

    Args:
        text: The text.
        workspace: Where names are looked for.
        load: Resolves a file as a command is asked to.
        find: Returns the run of an address, and its folder.

    Raises:
        ConfigError: It means a configuration that does not fit, or nothing.
        AddressError: It means no run, or could mean several.
        WorkspaceError: The run's configuration is not on this machine.
    """
    try:
        file = find_config(workspace, text)
    except ConfigFileError as error:
        if "@" not in text:
            raise ConfigFileError(
                error.problem, next_step=f"{error.next_step}; a run is written @3 or digits@3"
            ) from None
        run, folder = find(text)
        return _of_run(text, run, folder)
    return _of_file(text, file, load(file))


def compared(one: Side, other: Side) -> list[Difference]:
    """Return the keys that differ, in the order of the schema."""
    return differences("config", [one.values, other.values])


def _of_file(label: str, file: Path, loaded: Configuration) -> Side:
    loaded.check_backends()  # its classes say which of their settings are secrets
    rows = loaded.resolved.rows()
    origins = {row.key: row.origin for row in rows}
    return Side(label, "config", str(file), _values(rows), origins)


def _of_run(label: str, run: CatalogRun, folder: Path) -> Side:
    file = folder / CONFIG
    if not file.is_file():
        problem = f"the configuration of run {run.address} is not on this machine: {file} does not exist"
        raise WorkspaceError(problem, next_step="compare it where it was trained, or by 'kladml compare'")
    stored = read_yaml(file)
    # A run of an older version had these defaults without knowing their keys.
    defaults = {key.key: _plain(key.default) for key in schema_keys(RunConfig).values()}
    return Side(label, "run", str(run.address), {**defaults, **_values(stored)}, {}, run)


def _values(entries: list[ConfigEntry]) -> dict[str, Any]:
    """Return what is set, flat; a key below which others stand is not there itself."""
    flat = [leaf for entry in entries for leaf in flatten({entry.key: entry.value}, entry.origin)]
    return {leaf.key: _plain(redact(leaf.key, leaf.value)) for leaf in flat}


def _plain(value: Any) -> Any:
    """Return a value as one that was stored as YAML reads again; no value and an empty section are alike."""
    if isinstance(value, tuple):
        value = list(value)
    return None if value == {} else value
