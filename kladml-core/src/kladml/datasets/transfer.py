"""Versions of data sets in a storage: contents by digest and a manifest each, as in a workspace."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kladml.datasets.manifest import Manifest
from kladml.datasets.progress import in_threads, silent
from kladml.datasets.seals import damaged
from kladml.errors import DataError, ObjectNotFoundError
from kladml.files.scratch import scratch_folder
from kladml.interfaces.telling import download_telling, upload_telling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.datasets.manifest import FileEntry
    from kladml.datasets.progress import Progress
    from kladml.datasets.reference import DatasetReference
    from kladml.datasets.store import DatasetStore
    from kladml.interfaces import StorageInterface

PREFIX = "datasets"


class DatasetTransfer:
    """Moves versions between a workspace and a storage.

    Args:
        store: The data sets of the workspace.
        storage: The storage.
        bucket: The bucket there.
        name: How the storage is called, which the catalog is told.
    """

    def __init__(self, store: DatasetStore, storage: StorageInterface, bucket: str, name: str = "storage") -> None:
        self._store = store
        self._place = f"{name}/{bucket}"
        self._storage = storage
        self._bucket = bucket

    def versions(self, name: str) -> list[int]:
        """Return the versions of a data set that are in the storage, the oldest first."""
        prefix = f"{PREFIX}/{name}/"
        keys = self._storage.list_files(self._bucket, prefix)
        numbers = [key.removeprefix(prefix).removesuffix(".json") for key in keys if key.endswith(".json")]
        return sorted(int(number) for number in numbers if number.isdecimal())

    def push(self, manifest: Manifest, progress: Progress = silent) -> int:
        """Store a version: first the contents that are missing there, then its manifest.

        Returns:
            How many contents were missing.

        Raises:
            DataError: Its files changed under it, or there is another version of that number in the storage or in
                the catalog.
            StorageError: The storage fails; what is there then is no version yet.
            CatalogError: The catalog cannot be reached; where that is at the end, the push can be repeated.
        """
        self._store.shared.check()
        is_there = self._has(manifest)
        self._store.shared.note(manifest)
        faults = self._store.seals(manifest).check(manifest.files)
        if faults:
            raise damaged(manifest, faults)
        kept = self._contents()
        missing = [file for file in _once(manifest) if file.digest not in kept]

        def upload(file: FileEntry, tell: Callable[[int], object]) -> None:
            path = self._store.objects.path(file.digest)
            upload_telling(self._storage, path, self._bucket, _key(file.digest), tell)

        with progress(f"pushing {manifest.reference}", sum(file.size for file in missing)) as tell:
            in_threads(upload, missing, tell)
        if not is_there:
            self._push_manifest(manifest)
        self._store.shared.note(manifest, self._place)
        return len(missing)

    def pull(self, reference: DatasetReference, progress: Progress = silent) -> tuple[Manifest, int]:
        """Take a version from the storage; the latest there where the reference does not say which.

        Each content is compared with its digest before it counts. What is damaged here is replaced.

        Returns:
            The version, and how many contents were missing or damaged.

        Raises:
            DataError: There is no such version, or there is another one of that number in the workspace or in the
                catalog, or a content is not what the manifest says.
            StorageError: The storage fails; nothing of the version is there then.
            CatalogError: The catalog cannot be reached, likewise.
        """
        self._store.shared.check()
        numbers = self.versions(reference.name)
        number = reference.version or (numbers[-1] if numbers else None)
        if number is None or number not in numbers:
            there = f"there {'is' if len(numbers) == 1 else 'are'} {', '.join(map(str, numbers))}" if numbers else None
            problem = f"the storage has no {reference if reference.version else f'version of {reference.name!r}'}"
            raise DataError(problem, next_step=there or f"store one with 'kladml data push {reference.name}'")
        manifest = replace(self._manifest(reference.at(number)), removed_at=None)
        store = self._store
        store.shared.require_same(manifest)
        with store.locked(f"pulling {manifest.reference}"):
            store.check_spelling(manifest.name)
            store.objects.clear_temporary()
            mine = next((each for each in store.all_versions(manifest.name) if each.version == number), None)
            if mine is not None and not _is_same(mine, manifest):
                raise _conflict(mine, manifest)
            faults = {entry.digest for entry, _ in store.seals(manifest).check(manifest.files)}
            missing = [file for file in _once(manifest) if file.digest in faults]
            new = [file.digest for file in missing if store.objects.size_of(file.digest) is None]
            try:
                with progress(f"pulling {manifest.reference}", sum(file.size for file in missing)) as tell:
                    in_threads(self._download, missing, tell)
                store.objects.flush([file.digest for file in missing])
                store.shared.note(manifest, self._place)
                store.register(manifest)
            except BaseException as error:
                for digest in new:
                    store.objects.remove(digest)
                if isinstance(error, OSError):
                    problem = f"{manifest.reference} cannot be kept: {error.strerror or error}"
                    raise DataError(problem, next_step="nothing of it was kept; make room on the disk") from error
                raise
        return manifest, len(missing)

    def _push_manifest(self, manifest: Manifest) -> None:
        """Store a manifest, unless another version of that number came there meanwhile."""
        if self._has(manifest):
            return
        with scratch_folder(self._store.state) as folder:
            path = folder / "manifest.json"
            path.write_text(manifest.to_json(), encoding="utf-8")
            self._storage.upload_file(path, self._bucket, _manifest_key(manifest.reference))
        self._has(manifest)  # of two that are stored at the same moment the last one stays

    def _has(self, manifest: Manifest) -> bool:
        """Tell whether a version is in the storage.

        Raises:
            DataError: There is another one of its number.
        """
        if manifest.version not in self.versions(manifest.name):
            return False
        there = self._manifest(manifest.reference)
        if not _is_same(there, manifest):
            raise _conflict(manifest, there)
        return True

    def _download(self, file: FileEntry, tell: Callable[[int], object]) -> None:
        def write(path: Path) -> None:
            download_telling(self._storage, self._bucket, _key(file.digest), path, tell)

        try:
            fault = self._store.objects.take_downloaded(write, file.digest, file.size)
        except ObjectNotFoundError:
            fault = "it is not there"
        if fault is not None:
            problem = f"the content of {file.name} in the storage is not what it was: {fault}"
            raise DataError(problem, next_step="push the version again from where it is whole")

    def _manifest(self, reference: DatasetReference) -> Manifest:
        with scratch_folder(self._store.state) as folder:
            path = folder / "manifest.json"
            self._storage.download_file(self._bucket, _manifest_key(reference), path)
            manifest = Manifest.read(path, owner=f"{self._bucket}/{_manifest_key(reference)} in the storage")
        if manifest.reference != reference:
            problem = f"the storage has {manifest.reference} in the place of {reference}"
            raise DataError(problem, next_step="push the version again from where it is whole")
        return manifest

    def _contents(self) -> set[str]:
        """Return the digests of the contents in the storage."""
        prefix = f"{PREFIX}/objects/"
        return {key.removeprefix(prefix).replace("/", "") for key in self._storage.iter_files(self._bucket, prefix)}


def _key(digest: str) -> str:
    return f"{PREFIX}/objects/{digest[:2]}/{digest[2:]}"


def _manifest_key(reference: DatasetReference) -> str:
    return f"{PREFIX}/{reference.name}/{reference.version}.json"


def _once(manifest: Manifest) -> list[FileEntry]:
    """Return one file of each content."""
    return list({file.digest: file for file in manifest.files}.values())


def _is_same(one: Manifest, other: Manifest) -> bool:
    """Tell whether both have the same files, and the same target in them."""
    return (one.files, one.schema.target) == (other.files, other.schema.target)


def _conflict(here: Manifest, there: Manifest) -> DataError:
    mine, other = (f"of {each.created_at[:10]}, {each.fingerprint[:20]}…" for each in (here, there))
    if here.files == there.files:
        mine, other = (f"with the target {each.schema.target or 'none'}" for each in (here, there))
    problem = f"{here.reference} of this workspace ({mine}) is another one than that of the storage ({other})"
    return DataError(problem, next_step="add the data under another name, and push or pull that")
