"""What KladML keeps for itself in a new workspace: the catalog's database, and the folder of the spool."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kladml.workspace import Workspace

_CATALOG = "sql"
SPOOL = ".kladml/spool"
DATABASE = ".kladml/catalog.db"


def make_state(workspace: Workspace) -> bool:
    """Make what is not there yet; tell whether that was the database.

    A catalog that the configuration keeps elsewhere is left alone: it may be that of a team.

    Raises:
        CatalogError: The database cannot be made.
        OSError: The folder cannot be made.
    """
    from kladml.errors import ConfigError, PluginError
    from kladml_cli.configuration import Configuration

    (workspace.root / SPOOL).mkdir(parents=True, exist_ok=True)
    database = workspace.root / DATABASE
    if database.exists():
        return False
    with suppress(ConfigError, PluginError):  # of a folder that is adopted; the next command says so
        configuration = Configuration(workspace)
        resolved = configuration.resolved
        names = resolved.selected("catalog")
        if names in (None, [_CATALOG]) and not resolved.settings("catalog", _CATALOG):
            configuration.open_catalog().close()
    return database.exists()
