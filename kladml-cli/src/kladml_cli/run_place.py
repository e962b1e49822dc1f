"""Where commands find runs: the workspace, its catalog, and what short addresses refer to."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kladml.history.best import Criterion
    from kladml.history.copying import Place
    from kladml.history.pages import RunPage
    from kladml.history.references import References
    from kladml.interfaces import (
        CatalogInterface,
        CatalogRun,
        ConfigEntry,
        ExperimentAddress,
        RunAddress,
        StorageInterface,
        TrackerInterface,
    )
    from kladml.runner.record import RunRecord
    from kladml.workspace import Workspace
    from kladml_cli.configuration import Configuration

_MONITOR = "training.early_stopping.monitor"
_MODE = "training.early_stopping.mode"


@dataclass(frozen=True)
class RunPlace:
    """What the options of a command say about where its runs are.

    Attributes:
        experiment: The experiment of addresses that name none, or None.
        metric: What decides which run is the best, or None.
        mode: Whether less or more of it is better, or None.
        config_source: Name of the configuration source, or None.
        profile: The profile, or None.
        workspace: A folder of the workspace, or None for the current one.
        overrides: Configuration entries of flags.
    """

    experiment: str | None = None
    metric: str | None = None
    mode: str | None = None
    config_source: str | None = None
    profile: str | None = None
    workspace: Path | None = None
    overrides: tuple[ConfigEntry, ...] = ()

    @contextmanager
    def open(self) -> Iterator[OpenPlace]:
        """Open the catalog.

        Raises:
            AddressError: The experiment cannot be the name of one.
            CatalogError: There is no catalog, or it cannot be used.
            WorkspaceError: There is no workspace.
        """
        from kladml.workspace import Workspace
        from kladml_cli.configuration import Configuration

        workspace = Workspace.find(self.workspace)
        loaded = Configuration(
            workspace, source=self.config_source, profile=self.profile, overrides=list(self.overrides)
        )
        with ExitStack() as opened:
            catalog = opened.enter_context(loaded.open_catalog(checked=False))
            yield OpenPlace(self, workspace, loaded, catalog, opened)


class OpenPlace:
    """An open catalog, and what else is known of its runs.

    Args:
        options: What the command's options say.
        workspace: The workspace.
        configuration: Its configuration.
        catalog: The catalog.
        opened: Takes what else is opened, and closes it.
    """

    def __init__(
        self,
        options: RunPlace,
        workspace: Workspace,
        configuration: Configuration,
        catalog: CatalogInterface,
        opened: ExitStack,
    ) -> None:
        self.workspace = workspace
        self.configuration = configuration
        self.catalog = catalog
        self.runs = workspace.state / "runs"
        self._options = options
        self._opened = opened
        self._trackers: dict[str, TrackerInterface | None] = {}

    @property
    def references(self) -> References:
        """What finds runs by their short addresses."""
        from kladml.history.references import References

        without = References(self.catalog)
        if self._options.experiment is not None:
            return References(self.catalog, without.find_experiment(self._options.experiment), self.criterion)
        return References(self.catalog, self._configured(), self.criterion)

    def find(self, address: str) -> CatalogRun:
        """Return the run that an address means, as it stands.

        Raises:
            AddressError: It means none, or could mean several.
        """
        return self._standing(self.references.find(address))

    def get_run(self, address: RunAddress) -> CatalogRun:
        """Return a run as it stands.

        Raises:
            AddressError: The catalog does not know it.
        """
        return self._standing(self.catalog.get_run(address))

    def newest_runs(self, limit: int, experiment: ExperimentAddress | None) -> tuple[list[CatalogRun], int]:
        """Return the newest runs as they stand, the newest first, and how many there are without the limit."""
        runs, count = self.catalog.newest_runs(limit, experiment)
        return [self._standing(run) for run in runs], count

    def list_runs(self, experiment: ExperimentAddress | None) -> list[CatalogRun]:
        """Return runs as they stand, in the order in which they started."""
        return [self._standing(run) for run in self.catalog.list_runs(experiment)]

    def criterion(self, experiment: ExperimentAddress, runs: Sequence[CatalogRun]) -> Criterion:
        """Return what decides which run of an experiment is the best.

        That is, in this order: the options, the configuration, and the stored configuration of its newest run.
        """
        from kladml.history.best import Criterion
        from kladml.runner.record import RunRecord

        if self._options.metric is not None:
            return Criterion(self._options.metric, self._options.mode or "auto")
        entries, stopping = self.configuration.resolved.entries, self.configuration.resolved.run.training.early_stopping
        metric, mode = stopping.monitor, stopping.mode
        if _MONITOR not in entries and runs:
            record = RunRecord.read(self.runs / runs[-1].address.path)
            stored = record.params if record is not None else {}
            metric, mode = stored.get(_MONITOR), stored.get(_MODE, "auto")
        return Criterion(metric, self._options.mode or mode)

    def page(self, run: CatalogRun) -> RunPage:
        """Return everything that is known of a run; a tracker or a storage that fails is only reported."""
        from kladml.errors import BackendError
        from kladml.history.pages import read_page
        from kladml.log import get_logger

        criterion = self.criterion(run.address.experiment, [run])
        tracker = self.tracker_of(run)
        try:
            page = read_page(run, self.runs, tracker, criterion)
        except BackendError as error:
            problem = f"the values of the metrics of {run.address} cannot be read: {error}"
            get_logger(__name__).warning(problem)
            page, tracker = replace(read_page(run, self.runs, None, criterion), problem=problem), None
        else:
            if page.problem:
                get_logger(__name__).warning(page.problem)
        return page if page.has_record else self._completed(page, tracker)

    def _completed(self, page: RunPage, tracker: TrackerInterface | None) -> RunPage:
        """Return the page of a run of another machine with what its storage has of it, or else its tracker."""
        from kladml.errors import KladMLError
        from kladml.history.copying import Place
        from kladml.history.elsewhere import stored_record, tracked_record
        from kladml.log import get_logger

        run, sources = page.run, page.run.backends

        def of_storage() -> RunRecord | None:
            stored = self.storage_of(run)
            if stored is None:
                return None
            return stored_record(run, Place(sources["storage"], *stored), self.workspace.state)

        def of_tracker() -> RunRecord | None:
            return None if tracker is None else tracked_record(run, tracker)

        for kind, read in (("storage", of_storage), ("tracker", of_tracker)):
            try:
                record = read()
            except KladMLError as error:
                get_logger(__name__).warning(f"what {run.address} was made from cannot be read: {error}")
                continue
            if record is not None:
                return replace(page, record=record, record_from=f"{kind} {sources[kind].partition(',')[0]}")
        return page

    def tracker_of(self, run: CatalogRun) -> TrackerInterface | None:
        """Return the tracker whose identifier a run has, if it can read runs back."""
        name = run.backends.get("tracker", "").partition(",")[0]
        return self._tracker(name) if name else None

    def searching_tracker(self) -> TrackerInterface | None:
        """Return the first selected tracker if it knows parameters of all runs at once."""
        names = self.configuration.resolved.selected("tracker")
        name = "local" if names is None else next(iter(names), "")
        tracker = self._tracker(name) if name else None
        return tracker if tracker is not None and "search" in tracker.capabilities else None

    def storage_of(self, run: CatalogRun) -> tuple[StorageInterface, str] | None:
        """Return the storage that has a run's files and the bucket there, or None.

        Raises:
            PluginError: It cannot be used.
            ConfigError: Its settings do not fit.
        """
        from kladml.runner.record import RunRecord

        name = run.backends.get("storage")
        if not name:
            return None
        storage: StorageInterface = self.configuration.select("storage", name)
        self._opened.callback(storage.close)
        record = RunRecord.read(self.runs / run.address.path)
        bucket = (record.params if record is not None else {}).get("artifacts.bucket")
        return storage, str(bucket or self.configuration.resolved.run.artifacts.bucket or storage.default_bucket)

    def storage(self, name: str) -> Place:
        """Return a storage by its name, with the bucket of runs there.

        Raises:
            BackendError: It cannot be used.
            PluginError: It is not installed.
            ConfigError: Its settings do not fit.
        """
        from kladml.history.copying import Place

        storage: StorageInterface = self.configuration.select("storage", name)
        self._opened.callback(storage.close)
        storage.check()
        return Place(name, storage, self.configuration.resolved.run.artifacts.bucket or storage.default_bucket)

    def _standing(self, run: CatalogRun) -> CatalogRun:
        if run.status != "RUNNING":
            return run
        from kladml.history.standing import standing

        return standing(run, self.runs)

    def _tracker(self, name: str) -> TrackerInterface | None:
        from kladml.errors import ConfigError, PluginError
        from kladml.log import get_logger

        if name not in self._trackers:
            try:
                tracker: TrackerInterface | None = self.configuration.open_tracker(name)
            except (ConfigError, PluginError) as error:
                get_logger(__name__).warning(f"tracker {name} cannot be read: {error}")
                tracker = None
            if tracker is not None:
                self._opened.callback(tracker.close)
            self._trackers[name] = tracker
        return self._trackers[name]

    def _configured(self) -> ExperimentAddress | None:
        """Return the experiment of the configuration, or None where it names none."""
        from kladml.interfaces import ExperimentAddress

        resolved = self.configuration.resolved
        if not any(key in resolved.entries for key in ("project", "family", "experiment")):
            return None
        return ExperimentAddress(resolved.run.project, resolved.run.family, resolved.run.experiment)
