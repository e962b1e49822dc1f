"""What a catalog may offer above runs: projects, families and experiments with descriptions."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from kladml.interfaces.backend import Backend
from kladml.interfaces.catalog_entries import counted, implied_by
from kladml.interfaces.refusals import unknown_entry

if TYPE_CHECKING:
    from kladml.interfaces.address import EntryAddress, ExperimentAddress, RunAddress
    from kladml.interfaces.catalog_entries import CatalogEntry, CatalogRun, Removal


class Hierarchy(Backend):
    """The part of `CatalogInterface` about projects, families and experiments.

    Any catalog can show them, from its runs. One with the capability `organise` implements all of these methods: it
    keeps them also without runs, with descriptions, and can delete them. `kladml.interfaces.refusals` makes the
    errors that are named here.
    """

    @abstractmethod
    def list_runs(self, experiment: ExperimentAddress | None = None) -> list[CatalogRun]:
        """List the runs of an experiment, or all, in the order in which they started."""

    def list_entries(self, level: str, below: EntryAddress | None = None) -> list[CatalogEntry]:
        """List the entries of a level, sorted by address.

        Args:
            level: One of `kladml.interfaces.LEVELS`.
            below: Only entries that stand in this one; all of the level if not given.

        Raises:
            AddressError: `below` names nothing.
        """
        entries = counted(implied_by(runs := self.list_runs()), runs)
        known = [entry.address for entry in entries]
        if below is not None and below not in known:
            raise unknown_entry(below, known)
        return [
            entry
            for entry in entries
            if entry.address.level == level and (below is None or entry.address.is_below(below))
        ]

    def get_entry(self, address: EntryAddress) -> CatalogEntry:
        """Return one project, family or experiment.

        Raises:
            AddressError: There is none.
        """
        entries = self.list_entries(address.level)
        for entry in entries:
            if entry.address == address:
                return entry
        raise unknown_entry(address, [entry.address for entry in entries])

    def create_entry(self, address: EntryAddress, description: str = "") -> CatalogEntry:
        """Make a project, a family or an experiment, and what it stands in where that is new. Capability `organise`.

        Args:
            address: Where it shall stand.
            description: What it is for; what is made above it has none.

        Raises:
            AddressError: It is there already.
            CatalogError: The description holds control characters, or is too long.
        """
        del description
        raise self._lacks("organise", f"make the {address.level} '{address}'")

    def describe_entry(self, address: EntryAddress, description: str) -> CatalogEntry:
        """Replace the description of a project, a family or an experiment. Capability `organise`.

        Raises:
            AddressError: There is none of this address.
            CatalogError: The description holds control characters, or is too long.
        """
        del description
        raise self._lacks("organise", f"describe the {address.level} '{address}'")

    def delete_entry(self, address: EntryAddress, *, recursive: bool = False, dry_run: bool = False) -> Removal:
        """Forget a project, a family or an experiment. Capability `organise`.

        What stands above stays. The numbers of the runs are never given again, also where an experiment of this
        address is made once more: folders of the runs may be left.

        Args:
            address: What to delete.
            recursive: Whether to delete what is inside as well, runs included.
            dry_run: Whether to change nothing and only tell what a recursive call would delete.

        Returns:
            Exactly what was deleted, or would be.

        Raises:
            AddressError: There is none of this address.
            NotEmptyError: Something is inside, and the call is neither recursive nor dry; nothing was deleted.
        """
        del recursive, dry_run
        raise self._lacks("organise", f"delete the {address.level} '{address}'")

    def delete_run(self, address: RunAddress) -> CatalogRun:
        """Forget a run, whose number is never given again, and return what was known of it. Capability `organise`.

        Raises:
            AddressError: There is no such run.
        """
        raise self._lacks("organise", f"delete run '{address}'")
