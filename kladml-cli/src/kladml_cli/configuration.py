"""The configuration as the commands see it: loaded, with the selected backends and every value's origin."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

from kladml.config import backend_settings
from kladml.config.resolve import OFF
from kladml.config.secrets import MASK, redact
from kladml.errors import CatalogError, StorageError
from kladml.interfaces import ConfigEntry, settings_of
from kladml.plugins import PluginRegistry
from kladml.runner.configuration import load_configuration, open_source
from kladml.runner.selection import DEFAULT, DEFAULT_NAMES, BackendSelector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from kladml.config import ResolvedConfig
    from kladml.interfaces import Backend, CatalogInterface, StorageInterface, TrackerInterface
    from kladml.plugins import PluginEntry
    from kladml.workspace import Workspace

DEFAULT_ORIGIN = "default"


@dataclass(frozen=True)
class MissingValue:
    """Stands for a setting that has no default and was not given."""

    def __str__(self) -> str:
        """Return what is shown in its place."""
        return "(missing)"


class Configuration:
    """The resolved configuration together with the plugins that it selects.

    Args:
        workspace: The workspace, which need not have been made yet.
        file: A run's own file, or None.
        source: Name of the configuration source, or None for the default.
        profile: The profile, or None for none.
        overrides: Entries of flags.
        registry: The plugins, where they were looked for already.

    Raises:
        ConfigError: Something does not fit.
        PluginError: The configuration source cannot be used.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        file: Path | None = None,
        source: str | None = None,
        profile: str | None = None,
        overrides: Iterable[ConfigEntry] = (),
        registry: PluginRegistry | None = None,
    ) -> None:
        self.workspace = workspace
        self.registry = registry or PluginRegistry()
        opened, self.source = open_source(source or DEFAULT, self.registry, workspace)
        self.resolved: ResolvedConfig = load_configuration(opened, file=file, overrides=overrides, profile=profile)

    def selected(self) -> Iterator[tuple[PluginEntry, type[Backend]]]:
        """Yield the selected backends, loaded.

        Raises:
            PluginError: One cannot be used.
        """
        for kind, default in DEFAULT_NAMES.items():
            names = self.resolved.selected(kind)
            if names is None:
                names = [default] if self.registry.is_installed(kind, default) else []
            for name in names:
                yield self.registry.find(kind, name), self.registry.load(kind, name)

    def check_backends(self) -> list[PluginEntry]:
        """Check the settings of the selected backends and return their entries.

        Raises:
            PluginError: A selected backend cannot be used.
            ConfigError: A setting is unknown, missing, or of the wrong type.
        """
        entries = []
        for entry, backend_class in self.selected():
            backend_settings(self.resolved, entry.kind, entry.name, backend_class, entry.owner)
            entries.append(entry)
        return entries

    def rows(self) -> list[ConfigEntry]:
        """Return every value with its origin: the run's, then each selected backend's, then other backends'.

        Raises:
            PluginError: A selected backend cannot be used.
        """
        rows = {row.key: row for row in self.resolved.rows()}
        backends: dict[str, ConfigEntry] = {}
        loaded = list(self.selected())
        for kind in DEFAULT_NAMES:
            of_kind = [(entry, backend_class) for entry, backend_class in loaded if entry.kind == kind]
            names = ", ".join(entry.name for entry, _ in of_kind)
            use = ConfigEntry(f"{kind}.use", names or OFF, DEFAULT_ORIGIN)
            backends[use.key] = rows.get(use.key, use)
            for entry, backend_class in of_kind:
                backends |= {row.key: row for row in self._settings(entry, backend_class)}
        of_run = [row for key, row in rows.items() if key.partition(".")[0] not in DEFAULT_NAMES]
        not_selected = [
            row for key, row in rows.items() if key.partition(".")[0] in DEFAULT_NAMES and key not in backends
        ]
        return [*of_run, *backends.values(), *not_selected]

    def open_catalog(self, *, checked: bool = True) -> CatalogInterface:
        """Return the selected catalog, which the caller closes.

        Args:
            checked: Whether to prove first that it can be written to, which only reading does not need.

        Raises:
            CatalogError: None is selected, or it cannot be used.
        """
        catalog = self.find_catalog()
        if catalog is None:
            problem = "no catalog is selected, and only a catalog remembers runs"
            raise CatalogError(problem, next_step="set catalog.use, such as with --catalog sql")
        if checked:
            catalog.check()
        return catalog

    def find_catalog(self) -> CatalogInterface | None:
        """Return the selected catalog, which the caller closes, or None where none is selected.

        Raises:
            PluginError: It cannot be used.
            ConfigError: Its settings do not fit.
        """
        selector = BackendSelector(self.resolved, self.registry, self.workspace)
        selected = selector.select("catalog", DEFAULT)
        return selected[0].backend if selected else None

    def open_storage(self) -> tuple[StorageInterface, str, str]:
        """Return the selected storage, which the caller closes, its name, and the configuration's bucket in it.

        Raises:
            StorageError: None is selected, or it cannot be used.
        """
        selector = BackendSelector(self.resolved, self.registry, self.workspace)
        selected = selector.select("storage", DEFAULT)
        if not selected:
            problem = "no storage is selected"
            raise StorageError(problem, next_step="set storage.use, such as with --storage s3")
        storage: StorageInterface = selected[0].backend
        return storage, selected[0].name, self.resolved.run.artifacts.bucket or storage.default_bucket

    def open_tracker(self, name: str) -> TrackerInterface:
        """Return a tracker, selected or not, which the caller closes.

        Raises:
            PluginError: It cannot be used.
            ConfigError: Its settings do not fit.
        """
        tracker: TrackerInterface = self.select("tracker", name)
        return tracker

    def select(self, kind: str, name: str) -> Any:
        """Return a backend by its name, selected or not, which the caller closes.

        Raises:
            PluginError: It cannot be used.
            ConfigError: Its settings do not fit.
        """
        return BackendSelector(self.resolved, self.registry, self.workspace).select(kind, name)[0].backend

    def _settings(self, entry: PluginEntry, backend_class: type[Backend]) -> Iterator[ConfigEntry]:
        given = {row.key: row for row in self.resolved.settings(entry.kind, entry.name)}
        for setting in settings_of(backend_class):
            key = f"{entry.kind}.{entry.name}.{setting.name}"
            default: Any = MissingValue() if setting.default is MISSING else setting.default
            row = given.get(key, ConfigEntry(key, default, DEFAULT_ORIGIN))
            shown = MASK if setting.secret and row.value is not None else redact(key, row.value)
            yield ConfigEntry(key, shown, row.origin)
