"""The catalog interface: which projects, families, experiments and runs there are."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from kladml.errors import AddressError
from kladml.interfaces.dataset_numbers import DatasetNumbers
from kladml.interfaces.hierarchy import Hierarchy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.interfaces.address import ExperimentAddress, RunAddress
    from kladml.interfaces.catalog_entries import CatalogRun


class CatalogInterface(Hierarchy, DatasetNumbers):
    """Numbers the runs of each experiment and remembers how they ended.

    A complete catalog, and the hook that offers it under a name:

    ```python
    from dataclasses import replace
    from datetime import UTC, datetime
    from threading import Lock
    from kladml import CatalogInterface, CatalogRun, RunAddress

    class MemoryCatalog(CatalogInterface):
        def __init__(self):
            self.runs = []
            self.lock = Lock()

        def add_run(self, experiment, run_id, backends):
            with self.lock:
                address = RunAddress(experiment, str(len(self.list_runs(experiment)) + 1))
                self.runs.append(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)))
                return address

        def end_run(self, address, status, metrics):
            run = self.get_run(address)
            ended = replace(run, status=status, metrics=dict(metrics), ended_at=datetime.now(UTC))
            self.runs[self.runs.index(run)] = ended

        def list_runs(self, experiment=None):
            return [run for run in self.runs if experiment in (None, run.address.experiment)]
    ```
    ```python
    from kladml.plugins import hookimpl

    @hookimpl
    def kladml_register_catalog():
        from my_package.catalog import MemoryCatalog
        return MemoryCatalog
    ```

    Capabilities: `resume` (`resume_run`), `organise` (the methods of `Hierarchy` that change something), `datasets`
    (the methods of `DatasetNumbers`).
    """

    @abstractmethod
    def add_run(self, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str]) -> RunAddress:
        """Register a run that starts now and give it the next number of its experiment.

        Numbers start at 1 and have no gaps and no duplicates, however many processes register at once.
        """

    @abstractmethod
    def end_run(self, address: RunAddress, status: str, metrics: Mapping[str, float]) -> None:
        """Note how a run ended.

        Raises:
            AddressError: There is no such run.
        """

    @abstractmethod
    def list_runs(self, experiment: ExperimentAddress | None = None) -> list[CatalogRun]:
        """List the runs of an experiment, or all, in the order in which they started."""

    def resume_run(self, address: RunAddress, run_id: str, backends: Mapping[str, str]) -> None:
        """Note that a run goes on: it is running again, without an end and final metrics. Capability `resume`.

        A run that the catalog does not know, because another machine began it, is registered under its address
        as one that starts now; the next new run of the experiment gets a higher number.

        Args:
            address: Where the run stands.
            run_id: The tracker's identifier, another one than before where a tracker had to start anew.
            backends: Selected backend of each kind, which may have changed.

        Raises:
            AddressError: The run is not known, and its label is no number that this catalog could have given.
        """
        del run_id, backends
        raise self._lacks("resume", f"note that run '{address}' goes on")

    def get_run(self, address: RunAddress) -> CatalogRun:
        """Return one run.

        Raises:
            AddressError: There is no such run.
        """
        for run in self.list_runs(address.experiment):
            if run.address == address:
                return run
        problem = f"there is no run '{address}'"
        raise AddressError(problem, next_step="kladml runs list shows those there are")

    def newest_runs(self, limit: int, experiment: ExperimentAddress | None = None) -> tuple[list[CatalogRun], int]:
        """Return the newest runs of an experiment, or of all, the newest first, and how many there are in all."""
        found = self.list_runs(experiment)
        return found[::-1][:limit], len(found)

    def list_experiments(self) -> list[ExperimentAddress]:
        """List the experiments that have runs, sorted."""
        return sorted({run.address.experiment for run in self.list_runs()})
