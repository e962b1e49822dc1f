"""The data sets of a workspace and their versions."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING

from kladml.datasets.catalog_versions import CatalogVersions
from kladml.datasets.describe import describe
from kladml.datasets.folders import folders_with_files
from kladml.datasets.formats import DataFile
from kladml.datasets.images import check_images
from kladml.datasets.lock import locked
from kladml.datasets.manifest import FileEntry, Manifest
from kladml.datasets.objects import ObjectStore
from kladml.datasets.progress import Progress, in_threads, silent
from kladml.datasets.reference import DatasetReference, check_name
from kladml.datasets.seals import Seals
from kladml.datasets.tree import list_tree
from kladml.errors import DataError
from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kladml.datasets.tree import SourceFile
    from kladml.interfaces import CatalogInterface


class DatasetStore:
    """Keeps versions of data sets: contents by digest, and a manifest for each version.

    ```python
    store = DatasetStore(Workspace.find().state)
    first = store.add("digits", Path("digits.csv"), target="label")
    print(first.reference, first.fingerprint)
    ```

    Args:
        state: The workspace's folder for what is KladML's own, `.kladml`.
        catalog: Numbers the versions, where it has the capability `datasets`; else the workspace does.

    Attributes:
        shared: The versions as the catalog knows them.
    """

    def __init__(self, state: Path, catalog: CatalogInterface | None = None) -> None:
        self.state = state
        self.shared = CatalogVersions(catalog)
        self.objects = ObjectStore(state / "objects")
        self._versions = state / "datasets"

    def names(self) -> list[str]:
        """Return the names of the data sets that have versions, sorted."""
        folders = self._versions.iterdir() if self._versions.is_dir() else ()
        return sorted(
            folder.name for folder in folders if not folder.name.startswith(".") and self.versions(folder.name)
        )

    def versions(self, name: str) -> list[Manifest]:
        """Return the versions of a data set, the oldest first; without those that were removed.

        Raises:
            DataError: A manifest is damaged.
        """
        return [manifest for manifest in self._all(name) if manifest.removed_at is None]

    def get(self, reference: DatasetReference | str) -> Manifest:
        """Return a version; the latest where the reference does not say which.

        Raises:
            DataError: There is none; the message names the nearest.
        """
        wanted = DatasetReference.parse(reference) if isinstance(reference, str) else reference
        known = self._all(wanted.name)
        kept = [manifest for manifest in known if manifest.removed_at is None]
        if not kept:
            raise self._unknown(wanted.name, known)
        if wanted.version is None:
            return kept[-1]
        found = next((manifest for manifest in known if manifest.version == wanted.version), None)
        if found is None or found.removed_at is not None:
            what = f"is no version of '{wanted.name}'"
            if found is not None and found.removed_at is not None:
                what = f"was removed on {found.removed_at[:10]}"
            numbers = ", ".join(str(manifest.version) for manifest in kept)
            problem = f"{wanted.name}@{wanted.version} {what}"
            raise DataError(problem, next_step=f"there {'is' if len(kept) == 1 else 'are'} {wanted.name}@{numbers}")
        return found

    def add(
        self,
        name: str,
        path: Path,
        *,
        target: str | None = None,
        link: bool = False,
        progress: Progress = silent,
    ) -> tuple[Manifest, bool]:
        """Make a version of a file or a folder.

        Either the version is there as a whole afterwards, or nothing of it.

        Args:
            name: Name of the data set, which need not be there yet.
            path: The file or folder.
            target: The column or array with the targets; that of the version before by default.
            link: Whether to take the files themselves by hard links, where the file system has no reflinks. It
                needs no space; the files are read-only then.
            progress: Shows the progress.

        Returns:
            The version, and whether it is new: content that equals that of the latest version makes none.

        Raises:
            DataError: The data cannot be kept or read, or the disk is full.
            CatalogError: The catalog cannot be reached; nothing is kept then.
        """
        check_name(name)
        files = self._listed(path)
        self.shared.check()  # before anything large is copied
        with self.locked(f"adding to '{name}'"):
            self.check_spelling(name)
            self.objects.clear_temporary()
            known = self._all(name)
            latest = next((manifest for manifest in reversed(known) if manifest.removed_at is None), None)
            new: list[str] = []
            try:
                entries = self._take(files, latest, new, link=link, progress=progress, label=f"adding {name}")
                target = target or (latest.schema.target if latest is not None else None)
                same = latest is not None and latest.files == entries
                if latest is not None and same and target == latest.schema.target:
                    self.seals(latest).note(latest.files)
                    self.shared.note(latest)
                    return latest, False
                schema = describe(self.files_of(entries), target, progress, name)
                if schema.format == "images":
                    before = set() if latest is None else {*latest.files}
                    check_images(self.files_of(each for each in entries if each not in before), progress, name)
                manifest = Manifest(
                    name,
                    known[-1].version + 1 if known else 1,
                    entries,
                    schema,
                    datetime.now(UTC).isoformat(timespec="seconds"),
                    str(path),
                )
                self.objects.flush([*dict.fromkeys(new)])
                with self.shared.numbered(manifest) as manifest:
                    self.register(manifest)
            except BaseException as error:
                for digest in new:
                    self.objects.remove(digest)
                if isinstance(error, OSError):
                    problem = f"{path} cannot be added to '{name}': {error.strerror or error}"
                    raise DataError(
                        problem, next_step="nothing of it was kept; make room, or check the path"
                    ) from error
                raise
        return manifest, True

    def register(self, manifest: Manifest) -> None:
        """Write the manifest of a version whose contents are all on the disk. The lock has to be held."""
        self.seals(manifest).note(manifest.files)
        self._write(manifest)

    def remove(self, reference: DatasetReference, *, everywhere: bool = False) -> list[Manifest]:
        """Remove a version, or all of a data set where the reference names none, and what no other version needs.

        Args:
            reference: The version.
            everywhere: Whether the catalog forgets it also where a storage has it for others.

        Returns:
            What was removed.

        Raises:
            DataError: There is no such version.
            CatalogError: The catalog cannot be reached; what is left can be removed again.
        """
        self.shared.check()
        with self.locked(f"removing {reference}"):
            gone = [self.get(reference)] if reference.version is not None else self.versions(reference.name)
            if not gone:
                raise self._unknown(reference.name, [])
            now = datetime.now(UTC).isoformat(timespec="seconds")
            for manifest in gone:
                # The catalog first: a sync notes what it lacks; what only it knows would look like others'.
                self.shared.forget(manifest, everywhere=everywhere)
                self._write(replace(manifest, removed_at=now))
                self._seals_file(manifest).unlink(missing_ok=True)
            self.sweep()
        return gone

    def sweep(self) -> int:
        """Remove contents that no version needs, and return how many. The lock has to be held."""
        self.objects.clear_temporary()
        needed = {file.digest for name in self.names() for manifest in self.versions(name) for file in manifest.files}
        unneeded = [digest for digest in self.objects.digests() if digest not in needed]
        for digest in unneeded:
            self.objects.remove(digest)
        return len(unneeded)

    def files_of(self, entries: Iterable[FileEntry]) -> list[DataFile]:
        """Return where the files of a version can be read."""
        return [DataFile(entry.name, self.objects.path(entry.digest)) for entry in entries]

    def verify(self, manifest: Manifest, progress: Progress = silent) -> list[tuple[FileEntry, str]]:
        """Read all files of a version; return those that are damaged, each with what is wrong."""
        with progress(f"verifying {manifest.reference}", manifest.size) as tell:
            return self.seals(manifest).check(manifest.files, tell, thorough=True)

    def seals(self, manifest: Manifest) -> Seals:
        """Return what tells whether the files of a version are as they were."""
        return Seals(self._seals_file(manifest), self.objects)

    def locked(self, what: str) -> AbstractContextManager[None]:
        """Have the lock of the data sets."""
        return locked(self._versions / ".lock", what)

    def all_versions(self, name: str) -> list[Manifest]:
        """Return the versions of a data set with those that were removed, the oldest first."""
        return self._all(name)

    def _take(
        self,
        files: Sequence[SourceFile],
        latest: Manifest | None,
        new: list[str],
        *,
        link: bool,
        progress: Progress,
        label: str,
    ) -> tuple[FileEntry, ...]:
        """Put files into the store; note in `new` which contents were not there."""
        before: dict[str, FileEntry] = {}
        if latest is not None:
            faults = {entry.digest for entry, _ in self.seals(latest).check(latest.files)}
            before = {entry.name: entry for entry in latest.files if entry.digest not in faults}

        def take(file: SourceFile, tell: Callable[[int], object]) -> FileEntry:
            entry = before.get(file.name)
            likely = entry.digest if entry is not None and entry.size == file.size else None
            stored = self.objects.put(file.path, tell, link=link, likely=likely)
            if stored.is_new:
                new.append(stored.digest)
            return FileEntry(file.name, stored.size, stored.digest)

        with progress(label, sum(file.size for file in files)) as tell:
            return tuple(in_threads(take, files, tell))

    def _listed(self, path: Path) -> list[SourceFile]:
        files = list_tree(path)
        if path.resolve().is_relative_to(self.state.resolve()):
            problem = f"{path} lies in KladML's own folder {self.state}"
            raise DataError(problem, next_step="name a file or folder of yours")
        return files

    def check_spelling(self, name: str) -> None:
        """Refuse a name that differs from another one only in upper and lower case, which some disks do not tell apart.

        Raises:
            DataError: There is such a name.
        """
        folders = self._versions.iterdir() if self._versions.is_dir() else ()
        for folder in folders:
            if folder.name.lower() == name.lower() and folder.name != name:
                problem = f"there is a data set '{folder.name}' already, and '{name}' differs only in case"
                raise DataError(problem, next_step="use that name, or another one")

    def _all(self, name: str) -> list[Manifest]:
        folder = self._versions / check_name(name)
        numbers = sorted(int(file.stem) for file in folder.glob("*.json") if file.stem.isdecimal())
        return [Manifest.read(folder / f"{number}.json") for number in numbers]

    def _write(self, manifest: Manifest) -> None:
        file = self._versions / manifest.name / f"{manifest.version}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as temporary, temporary.open("w", encoding="utf-8") as stream:
            stream.write(manifest.to_json())
            stream.flush()
            os.fsync(stream.fileno())

    def _seals_file(self, manifest: Manifest) -> Path:
        return self._versions / manifest.name / f".{manifest.version}.seals"

    def _unknown(self, name: str, known: Sequence[Manifest]) -> DataError:
        if name in folders_with_files(self.state.parent / "data" / "datasets"):
            problem = f"data/datasets/{name} is a folder, and no data set yet"
            return DataError(problem, next_step=f"'kladml data sync {name}' makes it one")
        if known:
            problem = f"all versions of the data set '{name}' were removed"
            return DataError(problem, next_step=f"add it again with 'kladml data add {name} PATH', or pull it")
        names = self.names()
        near = get_close_matches(name, names, n=3, cutoff=0.5) or names[:5]
        problem = f"there is no data set '{name}'"
        there = f"there {'is' if len(near) == 1 else 'are'} {', '.join(near)}" if near else "there are none yet"
        return DataError(problem, next_step=f"{there}; 'kladml data add {name} PATH' adds one")
