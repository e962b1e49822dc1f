"""Versions of a workspace and those of the catalog, brought in step: what one lacks is noted, or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.datasets.catalog_versions import merged
from kladml.datasets.folders import Synced
from kladml.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kladml.datasets.store import DatasetStore


def sync_catalog(store: DatasetStore, name: str, *, only_look: bool = False) -> Iterator[Synced]:
    """Note the versions of a data set that the catalog lacks, and tell of those that the workspace lacks.

    Args:
        store: The data sets of the workspace.
        name: The data set.
        only_look: Whether to change nothing and to say what would be done.

    Yields:
        `noted` for a version that the catalog knows from now on, `elsewhere` for one that only the catalog knows, with
        how to get it, and `failed` for a number that has another content there. What is in step is not told, nor what
        was removed here.

    Raises:
        CatalogError: The catalog cannot be used.
    """
    if not store.shared.available:
        return
    with store.locked(f"syncing '{name}' with the catalog"):
        manifests = store.all_versions(name)
        numbers = {manifest.version for manifest in manifests}
        here = [manifest for manifest in manifests if manifest.removed_at is None]
        for version in merged(here, store.shared.versions(name)):
            number = version.summary.number
            if version.manifest is None:
                if number not in numbers:
                    yield Synced(name, "elsewhere", number, next_step=version.next_step)
            elif version.entry is None:
                try:
                    store.shared.require_same(version.manifest)
                    if not only_look:
                        store.shared.note(version.manifest)
                except DataError as error:
                    yield Synced(name, "failed", number, str(error))
                else:
                    yield Synced(name, "noted", number)
