"""Versions of data sets in the catalog: what keeps their numbers the same for all who share it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from kladml.errors import BackendError, CatalogError
from kladml.interfaces import CatalogDataset
from kladml.interfaces.dataset_numbers import other_content
from kladml.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kladml.datasets.manifest import Manifest
    from kladml.interfaces import CatalogInterface

CAPABILITY = "datasets"

log = get_logger(__name__)


class CatalogVersions:
    """The versions of data sets as a catalog knows them; without one that can, workspaces number for themselves.

    Args:
        catalog: The selected catalog, or None.
    """

    def __init__(self, catalog: CatalogInterface | None) -> None:
        self._catalog = catalog if catalog is not None and CAPABILITY in catalog.capabilities else None

    @property
    def available(self) -> bool:
        """Whether there is a catalog that knows data sets."""
        return self._catalog is not None

    def check(self) -> None:
        """Prove that the catalog can be written to, if there is one.

        Raises:
            CatalogError: It cannot.
        """
        if self._catalog is None:
            return
        try:
            self._catalog.check()
        except CatalogError as error:
            hint = "nothing was changed, and '--catalog none' goes without it"
            next_step = f"{error.next_step}; {hint}" if error.next_step else hint
            raise CatalogError(error.problem, owner=error.owner, next_step=next_step) from error

    def versions(self, name: str | None = None) -> list[CatalogDataset]:
        """Return the versions of a data set, or of all, by name and number; none where there is no catalog.

        Raises:
            CatalogError: The catalog cannot be read.
        """
        return [] if self._catalog is None else self._catalog.list_datasets(name)

    @contextmanager
    def numbered(self, manifest: Manifest) -> Iterator[Manifest]:
        """Give a new version with its number; if the block fails, the catalog does not know it afterwards.

        Args:
            manifest: The version, with the number that the workspace alone would give it.

        Raises:
            CatalogError: The catalog cannot be written to.
        """
        if self._catalog is None:
            yield manifest
            return
        version, is_new = self._catalog.add_dataset(entry_of(manifest))
        try:
            yield replace(manifest, version=version.number)
        except BaseException:
            if is_new:
                self._take_back(version)
            raise

    def require_same(self, manifest: Manifest) -> None:
        """See that the catalog knows the same content under a version's number, or nothing.

        Raises:
            DataError: It knows another one.
            CatalogError: The catalog cannot be read.
        """
        known = self._known(manifest)
        if known is not None and not known.is_content_of(entry_of(manifest)):
            raise other_content(entry_of(manifest), known)

    def note(self, manifest: Manifest, storage: str | None = None) -> None:
        """Let the catalog know a version, and where it was put for others.

        Raises:
            DataError: Its number was given to another content.
            CatalogError: The catalog cannot be written to.
        """
        if self._catalog is not None:
            self._catalog.note_dataset(entry_of(manifest, storage))

    def forget(self, manifest: Manifest, *, everywhere: bool = False) -> None:
        """Let the catalog forget a version that leaves the workspace, unless a storage has it for others.

        Args:
            manifest: The version. Another one that the catalog has under its number stays.
            everywhere: Whether to forget it also where a storage has it.

        Raises:
            CatalogError: The catalog cannot be written to.
        """
        known = self._known(manifest)
        if known is not None and known.is_content_of(entry_of(manifest)) and (everywhere or known.storage is None):
            self.forget_entry(known)

    def forget_entry(self, version: CatalogDataset) -> None:
        """Let the catalog forget a version; harmless where it did already.

        Raises:
            CatalogError: The catalog cannot be written to.
        """
        if self._catalog is not None and version in self.versions(version.name):
            self._catalog.remove_dataset(version.name, version.number)

    def _take_back(self, version: CatalogDataset) -> None:
        try:
            self.forget_entry(version)
        except BackendError as error:
            log.warning(f"the catalog still knows {version.reference}, which was not kept: {error}")

    def _known(self, manifest: Manifest) -> CatalogDataset | None:
        return next((each for each in self.versions(manifest.name) if each.number == manifest.version), None)


@dataclass(frozen=True, slots=True)
class KnownVersion:
    """A version that the workspace has, the catalog knows, or both.

    Attributes:
        manifest: The version of the workspace, or None where it lies elsewhere.
        entry: What the catalog knows of it, or None.
    """

    manifest: Manifest | None
    entry: CatalogDataset | None

    @property
    def summary(self) -> CatalogDataset:
        """What is known of it in short."""
        found = self.entry if self.manifest is None else entry_of(self.manifest, self.storage)
        assert found is not None  # noqa: S101 - one of the two has it
        return found

    @property
    def storage(self) -> str | None:
        """Where it was put for others, or None."""
        return None if self.entry is None else self.entry.storage

    @property
    def where(self) -> str:
        """Where it is, as people read it."""
        here = [] if self.manifest is None else ["here"]
        return ", ".join([*here, *([self.storage] if self.storage else [])]) or "elsewhere"

    @property
    def next_step(self) -> str:
        """How a version that is not here gets here."""
        if self.storage is None:
            return f"who has it can push it: kladml data push {self.summary.reference}"
        return f"kladml data pull {self.summary.reference} --storage {self.storage.partition('/')[0]}"


def merged(here: Iterable[Manifest], known: Iterable[CatalogDataset]) -> list[KnownVersion]:
    """Return the versions that a workspace has or a catalog knows, by name and number.

    Two of one number whose contents differ stay apart, that of the workspace first.
    """
    rest = {(entry.name, entry.number): entry for entry in known}
    found = []
    for manifest in here:
        entry = rest.get((manifest.name, manifest.version))
        same = entry is not None and entry.is_content_of(entry_of(manifest))
        found.append(KnownVersion(manifest, rest.pop((manifest.name, manifest.version)) if same else None))
    found += [KnownVersion(None, entry) for entry in rest.values()]
    return sorted(found, key=lambda version: (version.summary.name, version.summary.number))


def entry_of(manifest: Manifest, storage: str | None = None) -> CatalogDataset:
    """Return what the catalog is told of a version."""
    schema = manifest.schema
    return CatalogDataset(
        manifest.name,
        manifest.version,
        manifest.fingerprint,
        schema.format,
        manifest.size,
        len(manifest.files),
        datetime.fromisoformat(manifest.created_at),
        schema.rows,
        len(schema.columns),
        schema.target,
        len(schema.labels),
        storage,
    )
