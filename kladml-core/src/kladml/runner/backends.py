"""The backends of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kladml.runner.fanout import FanOut

if TYPE_CHECKING:
    from kladml.runner.selection import Selected


@dataclass
class Backends:
    """The backends of a run.

    Attributes:
        storage: The storage, or None.
        trackers: The trackers.
        publishers: The publishers.
        catalog: The catalog, or None.
    """

    storage: Selected | None
    trackers: FanOut
    publishers: FanOut
    catalog: Selected | None

    @classmethod
    def of(cls, selected: dict[str, list[Selected]]) -> Backends:
        """Sort selected backends by kind."""
        return cls(
            next(iter(selected["storage"]), None),
            FanOut(selected["tracker"]),
            FanOut(selected["publisher"]),
            next(iter(selected["catalog"]), None),
        )

    def all(self) -> list[Selected]:
        """Return all of them, in the order in which they are named to people."""
        single = [item for item in (self.storage, self.catalog) if item is not None]
        return [*single[:1], *self.trackers.members, *self.publishers.members, *single[1:]]

    def check(self) -> None:
        """Run every preflight: storage, catalog and the last tracker must pass; publishers are dropped.

        Raises:
            BackendError: A backend that the run needs cannot be used.
        """
        for item in (self.storage, self.catalog):
            if item is not None:
                item.backend.check()
        self.trackers.check(optional=False)
        self.publishers.check(optional=True)

    def names(self) -> dict[str, str]:
        """Return the selected names by kind, several joined by a comma."""
        names: dict[str, list[str]] = {}
        for item in self.all():
            names.setdefault(item.kind, []).append(item.name)
        return {kind: ",".join(found) for kind, found in names.items()}

    def close(self) -> None:
        """Close the backends that are not the caller's."""
        self.trackers.close()
        self.publishers.close()
        for item in (self.storage, self.catalog):
            if item is not None and not item.borrowed:
                item.backend.close()
