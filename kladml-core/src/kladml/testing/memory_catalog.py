"""A catalog that keeps everything in memory; `kladml.testing.fakes` has it too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from kladml.errors import AddressError
from kladml.interfaces import CatalogEntry, CatalogInterface, CatalogRun, EntryAddress, Removal, RunAddress
from kladml.interfaces.catalog_entries import counted, implied_by
from kladml.interfaces.refusals import checked_description, not_empty, taken_entry, unknown_entry
from kladml.testing.memory_datasets import MemoryDatasets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kladml.interfaces import ExperimentAddress

_OWNER = "kladml.testing.fakes"


class MemoryCatalog(MemoryDatasets, CatalogInterface):
    """Keeps runs in a list, and the hierarchy above them and data sets in mappings.

    Attributes:
        runs: All runs, in the order in which they started.
        entries: Description and time of making of each project, family and experiment.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset({"datasets", "organise", "resume"})

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[CatalogRun] = []
        self.entries: dict[EntryAddress, tuple[str, datetime]] = {}
        self._last_numbers: dict[ExperimentAddress, int] = {}

    def add_run(self, experiment: ExperimentAddress, run_id: str, backends: Mapping[str, str]) -> RunAddress:
        """Register a run under the next number of its experiment."""
        with self._lock:
            number = 1 + self._last_numbers.get(experiment, 0)
            address = RunAddress(experiment, str(number))
            self._keep(CatalogRun(address, run_id, "RUNNING", datetime.now(UTC), backends=dict(backends)), number)
        return address

    def end_run(self, address: RunAddress, status: str, metrics: Mapping[str, float]) -> None:
        """Note the end of a run."""
        with self._lock:
            index = self._required(address)
            ended = replace(self.runs[index], status=status, ended_at=datetime.now(UTC), metrics=dict(metrics))
            self.runs[index] = ended

    def resume_run(self, address: RunAddress, run_id: str, backends: Mapping[str, str]) -> None:
        """Note that a run goes on, or register it under its address."""
        with self._lock:
            index = self._index_of(address)
            if index is None and not (address.label.isdecimal() and str(int(address.label)) == address.label != "0"):
                problem = f"'{address}' has no number, which this catalog gives"
                raise AddressError(problem, owner=_OWNER, next_step="use an address that add_run returned")
            started_at = datetime.now(UTC) if index is None else self.runs[index].started_at
            run = CatalogRun(address, run_id, "RUNNING", started_at, backends=dict(backends))
            if index is None:
                self._keep(run, int(address.label))
            else:
                self.runs[index] = run

    def list_runs(self, experiment: ExperimentAddress | None = None) -> list[CatalogRun]:
        """List the runs of an experiment, or all."""
        return [run for run in list(self.runs) if experiment in (None, run.address.experiment)]

    def list_entries(self, level: str, below: EntryAddress | None = None) -> list[CatalogEntry]:
        """List the entries of a level, also those without runs."""
        with self._lock:
            known = self._known()
            if below is not None and below not in known:
                raise unknown_entry(below, known, _OWNER)
            entries = counted(known, self.runs)
        wanted = [entry for entry in entries if entry.address.level == level]
        return [entry for entry in wanted if below is None or entry.address.is_below(below)]

    def create_entry(self, address: EntryAddress, description: str = "") -> CatalogEntry:
        """Keep an entry and what it stands in."""
        checked_description(description, _OWNER)
        with self._lock:
            if address in self._known():
                raise taken_entry(address, _OWNER)
            self._make(address)
            return self.describe_entry(address, description)

    def describe_entry(self, address: EntryAddress, description: str) -> CatalogEntry:
        """Replace the description of an entry."""
        checked_description(description, _OWNER)
        with self._lock:
            known = self._known()
            if address not in known:
                raise unknown_entry(address, known, _OWNER)
            self.entries[address] = (description, known[address][1])
            return self.get_entry(address)

    def delete_entry(self, address: EntryAddress, *, recursive: bool = False, dry_run: bool = False) -> Removal:
        """Forget an entry and, where that is asked for, what is inside."""
        with self._lock:
            known = self._known()
            if address not in known:
                raise unknown_entry(address, known, _OWNER)
            below = tuple(sorted(other for other in known if other.is_below(address)))
            inside = tuple(run.address for run in self.runs if address in run.address.experiment.lineage)
            removal = Removal(address, below, inside)
            if dry_run:
                return removal
            if not removal.is_empty and not recursive:
                raise not_empty(removal, _OWNER)
            self.runs = [run for run in self.runs if run.address not in inside]
            for gone in (address, *below):
                self.entries.pop(gone, None)
        return removal

    def delete_run(self, address: RunAddress) -> CatalogRun:
        """Forget a run; its experiment stays."""
        with self._lock:
            return self.runs.pop(self._required(address))

    def _keep(self, run: CatalogRun, number: int) -> None:
        experiment = run.address.experiment
        self._make(EntryAddress.of(experiment))
        self._last_numbers[experiment] = max(self._last_numbers.get(experiment, 0), number)
        self.runs.append(run)

    def _make(self, address: EntryAddress) -> None:
        now = datetime.now(UTC)
        for each in address.lineage:
            self.entries.setdefault(each, ("", now))

    def _known(self) -> dict[EntryAddress, tuple[str, datetime]]:
        return {**implied_by(self.runs), **self.entries}

    def _index_of(self, address: RunAddress) -> int | None:
        return next((index for index, run in enumerate(self.runs) if run.address == address), None)

    def _required(self, address: RunAddress) -> int:
        index = self._index_of(address)
        if index is None:
            problem = f"there is no run '{address}'"
            raise AddressError(problem, owner=_OWNER, next_step="use what add_run returned")
        return index
