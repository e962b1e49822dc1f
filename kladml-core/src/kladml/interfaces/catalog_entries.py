"""What a catalog remembers: runs, the hierarchy above them, data sets, and what leaves it together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from kladml.interfaces.address import EntryAddress, RunAddress


@dataclass(frozen=True, slots=True)
class CatalogRun:
    """A run as the catalog remembers it.

    Attributes:
        address: Where the run stands.
        run_id: The tracker's identifier of the run.
        status: One of `kladml.interfaces.RUN_STATUSES`.
        started_at: When it was registered, with time zone.
        ended_at: When it ended, with time zone, or None while it runs.
        metrics: Final metrics.
        backends: Selected backend of each kind, such as `{"storage": "local"}`.
    """

    address: RunAddress
    run_id: str
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    backends: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A project, a family or an experiment as the catalog remembers it.

    Attributes:
        address: Where it stands; its level says what it is.
        description: What a person wrote about it, or nothing.
        created_at: When it was made, with time zone.
        families: How many families are in a project.
        experiments: How many experiments are in a project or a family.
        runs: How many runs are in it, at whatever depth.
        last_run_at: When the newest of these runs started, with time zone, or None where there is none.
    """

    address: EntryAddress
    description: str
    created_at: datetime
    families: int = 0
    experiments: int = 0
    runs: int = 0
    last_run_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CatalogDataset:
    """A version of a data set as the catalog remembers it.

    Attributes:
        name: Name of the data set.
        number: Number of the version, from 1.
        fingerprint: Fingerprint of its content, `blake2b:…`.
        format: One of `kladml.datasets.formats.FORMATS`.
        size: Bytes of all its files.
        files: How many files it has.
        created_at: When it was added, with time zone.
        rows: How many rows, samples or images; None where that is not known.
        columns: How many columns or arrays.
        target: The column with the targets, or None.
        labels: How many different labels its targets have; 0 where they are no labels.
        storage: Where it was put for others, as `STORAGE/BUCKET`, or None.
    """

    name: str
    number: int
    fingerprint: str
    format: str
    size: int
    files: int
    created_at: datetime
    rows: int | None = None
    columns: int = 0
    target: str | None = None
    labels: int = 0
    storage: str | None = None

    @property
    def reference(self) -> str:
        """The version's name, such as `digits@2`."""
        return f"{self.name}@{self.number}"

    def is_content_of(self, other: CatalogDataset) -> bool:
        """Tell whether both have the same files, and the same target in them."""
        return (self.fingerprint, self.target) == (other.fingerprint, other.target)


@dataclass(frozen=True, slots=True)
class Removal:
    """What leaves the catalog when a project, a family or an experiment is deleted.

    Attributes:
        address: What is deleted.
        below: The families and experiments below it, sorted.
        runs: The runs in it, in the order in which they started.
    """

    address: EntryAddress
    below: tuple[EntryAddress, ...] = ()
    runs: tuple[RunAddress, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes but the address itself."""
        return not self.below and not self.runs


def counted(known: Mapping[EntryAddress, tuple[str, datetime]], runs: Iterable[CatalogRun]) -> list[CatalogEntry]:
    """Return entries with what is in them counted, sorted by address.

    Args:
        known: Description and time of making of each entry; whatever stands above one is known, too.
        runs: Runs of the known experiments.
    """
    families: dict[EntryAddress, int] = dict.fromkeys(known, 0)
    experiments, run_counts = dict(families), dict(families)
    last: dict[EntryAddress, datetime] = {}
    for address in known:
        for above in address.lineage[:-1]:
            counts = families if address.level == "family" else experiments
            counts[above] += 1
    for run in runs:
        for above in run.address.experiment.lineage:
            run_counts[above] += 1
            last[above] = max(last.get(above, run.started_at), run.started_at)
    return [
        CatalogEntry(
            address, *known[address], families[address], experiments[address], run_counts[address], last.get(address)
        )
        for address in sorted(known)
    ]


def implied_by(runs: Iterable[CatalogRun]) -> dict[EntryAddress, tuple[str, datetime]]:
    """Return what runs alone tell of the entries that they stand in: no description, made with their first run."""
    known: dict[EntryAddress, tuple[str, datetime]] = {}
    for run in runs:
        for above in run.address.experiment.lineage:
            _, earliest = known.get(above, ("", run.started_at))
            known[above] = ("", min(earliest, run.started_at))
    return known
