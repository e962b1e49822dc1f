"""Where commands find data sets: in the workspace, and in the catalog that numbers them."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kladml_cli.given_entries import entries_of
from kladml_cli.settings_options import configuration_options, setting_option, workspace_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kladml.datasets import DatasetStore
    from kladml.datasets.catalog_versions import KnownVersion
    from kladml.interfaces import CatalogInterface, ConfigEntry
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

Decorated = TypeVar("Decorated", bound="Callable[..., Any]")


@dataclass(frozen=True)
class DataPlace:
    """What the options of a command say about where its data sets are.

    Attributes:
        config_source: Name of the configuration source, or None.
        profile: The profile, or None.
        workspace: A folder of the workspace, or None for the current one.
        overrides: Configuration entries of flags.
    """

    config_source: str | None = None
    profile: str | None = None
    workspace: Path | None = None
    overrides: tuple[ConfigEntry, ...] = ()

    @contextmanager
    def open(self) -> Iterator[OpenData]:
        """Open the data sets together with the catalog.

        Raises:
            WorkspaceError: There is no workspace.
            ConfigError: The configuration does not fit.
            PluginError: The catalog cannot be used.
        """
        from kladml.datasets import DatasetStore
        from kladml.workspace import Workspace
        from kladml_cli.configuration import Configuration

        workspace = Workspace.find(self.workspace)
        loaded = Configuration(
            workspace, source=self.config_source, profile=self.profile, overrides=list(self.overrides)
        )
        catalog = loaded.find_catalog()
        try:
            yield OpenData(workspace, loaded, DatasetStore(workspace.state, catalog), catalog)
        finally:
            if catalog is not None:
                catalog.close()


@dataclass(frozen=True)
class OpenData:
    """The data sets of a workspace, and what the catalog knows of them.

    Attributes:
        workspace: The workspace.
        configuration: Its configuration.
        store: Its versions.
        catalog: The catalog, or None where none is selected.
    """

    workspace: Workspace
    configuration: Configuration
    store: DatasetStore
    catalog: CatalogInterface | None = None

    def known(self, name: str | None = None) -> tuple[list[KnownVersion], bool]:
        """Return the versions of a data set, or of all, here and elsewhere, and whether a catalog was asked.

        One that fails is only reported.

        Raises:
            DataError: A manifest is damaged.
        """
        from kladml.datasets.catalog_versions import merged
        from kladml.errors import BackendError
        from kladml.log import get_logger

        here = [manifest for each in ([name] if name else self.store.names()) for manifest in self.store.versions(each)]
        try:
            return merged(here, self.store.shared.versions(name)), self.store.shared.available
        except BackendError as error:
            get_logger(__name__).warning(f"only what is in this workspace is shown: {error}")
            return merged(here, []), False

    def runs_on(self, references: set[str]) -> tuple[list[str], list[str]]:
        """Return the runs of this workspace that were trained on versions: known ones, and those that were forgotten.

        Without a catalog that answers, none counts as forgotten.
        """
        from kladml.errors import BackendError
        from kladml_cli.data_output import runs_on

        runs = runs_on(self.workspace.state, references)
        if not runs or self.catalog is None:
            return runs, []
        try:
            known = {str(run.address) for run in self.catalog.list_runs()}
        except BackendError:
            return runs, []
        return [run for run in runs if run in known], [run for run in runs if run not in known]


def data_place_options(command: Decorated) -> Decorated:
    """Add the options that say where data sets are; the command gets them as `place`, a `DataPlace`."""

    @wraps(command)
    def with_place(*arguments: Any, **values: Any) -> Any:
        names = [item.name for item in fields(DataPlace) if item.name != "overrides"]
        taken = {name: values.pop(name) for name in names if name in values}
        overrides = tuple(entries_of(click.get_current_context()))
        return command(*arguments, place=DataPlace(**taken, overrides=overrides), **values)

    decorated: Any = with_place
    for option in (
        workspace_option,
        configuration_options,
        setting_option(
            "--catalog",
            key="catalog.use",
            metavar="NAME",
            help="The catalog that numbers data sets.",
            completing="plugins catalog",
        ),
    ):
        decorated = option(decorated)
    result: Decorated = decorated
    return result
