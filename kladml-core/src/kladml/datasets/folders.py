"""`data/datasets/` in the workspace: a folder for each data set, kept in step with its versions, both ways."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kladml.datasets import links
from kladml.datasets.hashing import hash_file
from kladml.datasets.progress import in_threads, silent
from kladml.datasets.reference import check_name
from kladml.datasets.tree import list_tree
from kladml.errors import DataError
from kladml.files.whole import written_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.datasets.manifest import FileEntry, Manifest
    from kladml.datasets.progress import Progress
    from kladml.datasets.store import DatasetStore
    from kladml.datasets.tree import SourceFile


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of a data set and its folder.

    Attributes:
        name: The data set.
        action: `kept` where both were in step, `added` where the folder became a version, `written` where the folder
            was made or brought up to the latest version, `failed` where neither was possible; `noted` and `elsewhere`
            for versions that the catalog lacked, or the workspace lacks.
        version: The version that both have now; None where it failed.
        problem: Why it failed, or None.
        next_step: How to get a version that is elsewhere, or None.
    """

    name: str
    action: str
    version: int | None
    problem: str | None = None
    next_step: str | None = None


def folders_with_files(root: Path) -> set[str]:
    """Return the names of the folders in `data/datasets/` that hold something.

    Args:
        root: The folder of folders.
    """
    folders = root.iterdir() if root.is_dir() else ()
    return {path.name for path in folders if not path.name.startswith(".") and path.is_dir() and any(path.iterdir())}


class DatasetFolders:
    """Keeps `data/datasets/NAME` and the versions of NAME in step.

    A folder whose content is new becomes a version. A folder that is still as KladML wrote it follows the latest
    version, and one that is not there is written. The files in it are copies, or share their blocks where the file
    system can do that: changing them changes no version.

    Args:
        store: The versions.
        root: The folder of folders.
    """

    def __init__(self, store: DatasetStore, root: Path) -> None:
        self._store = store
        self._root = root

    def names(self) -> list[str]:
        """Return the names of all data sets that have versions or a folder, sorted."""
        return sorted(folders_with_files(self._root) | {*self._store.names()})

    def sync(self, name: str, *, only_look: bool = False, progress: Progress = silent) -> Synced:
        """Bring a data set and its folder in step.

        Args:
            name: The data set.
            only_look: Whether to change nothing and to say what would be done.
            progress: Shows the progress.

        Raises:
            DataError: The folder cannot be read or written, or is no data.
        """
        folder = self._root / check_name(name)
        versions = self._store.versions(name)
        latest = versions[-1] if versions else None
        if not (folder.is_dir() and any(folder.iterdir())):
            if latest is None:
                problem = f"there is no data set '{name}', and nothing in {folder}"
                raise DataError(problem, next_step=f"put files there, or 'kladml data add {name} PATH'")
            return self._written(latest, folder, only_look=only_look, progress=progress)
        seen = _looks(folder)  # before anything is read: what changes meanwhile is read again the next time
        content = self._content(name, folder, progress)
        if latest is not None and latest.files == content:
            self._note(latest, seen)
            return Synced(name, "kept", latest.version)
        noted = self._noted(name).get("version")
        behind = next((version for version in versions if version.version == noted and version.files == content), None)
        if latest is not None and behind is not None:
            return self._written(latest, folder, only_look=only_look, progress=progress)
        if only_look:
            known = [entry.number for entry in self._store.shared.versions(name)]
            return Synced(name, "added", 1 + max([*known, *(each.version for each in versions)], default=0))
        manifest, _ = self._store.add(name, folder, progress=progress)
        self._note(manifest, seen)
        return Synced(name, "added", manifest.version)

    def write(self, manifest: Manifest, folder: Path, *, link: bool = False, progress: Progress = silent) -> None:
        """Write a version's files into a folder, which is replaced as a whole.

        Args:
            manifest: The version.
            folder: The folder.
            link: Whether files may be hard links, which are read-only, where the file system has no reflinks.
            progress: Shows the progress.

        Raises:
            DataError: A file changed under the version, or the disk is full; the folder is then as it was.
        """
        self._store.seals(manifest).require(manifest, manifest.files)
        hidden = next(folder.glob(".*"), None)
        if hidden is not None:
            problem = f"{folder} cannot be replaced by {manifest.reference}, because it also holds {hidden.name}"
            raise DataError(problem, next_step="move that elsewhere, or remove the folder")
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")

        def place(entry: FileEntry, tell: Callable[[int], object]) -> None:
            target = temporary / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            links.copy(self._store.objects.path(entry.digest), target, link=link)
            tell(entry.size)

        try:
            temporary.mkdir(parents=True)
            with progress(f"writing {manifest.reference}", manifest.size) as tell:
                in_threads(place, manifest.files, tell)
            if folder.exists():
                old = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.old")
                folder.replace(old)
                temporary.replace(folder)
                shutil.rmtree(old)
            else:
                temporary.replace(folder)
        except OSError as error:
            problem = f"{manifest.reference} cannot be written to {folder}: {error.strerror or error}"
            raise DataError(problem, next_step="make room, or check the permissions") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _written(self, latest: Manifest, folder: Path, *, only_look: bool, progress: Progress) -> Synced:
        if not only_look:
            self.write(latest, folder, progress=progress)
            self._note(latest, _looks(folder))
        return Synced(latest.name, "written", latest.version)

    def _content(self, name: str, folder: Path, progress: Progress) -> tuple[FileEntry, ...]:
        """Return the files of a folder; those that look as they were when they were last read are not read again."""
        from kladml.datasets.manifest import FileEntry

        noted = self._noted(name).get("files", {})

        def entry(file: SourceFile, tell: Callable[[int], object]) -> FileEntry:
            known = noted.get(file.name, {})
            if known.get("seen") == _look(file.path):
                tell(file.size)
                return FileEntry(file.name, file.size, str(known["digest"]))
            return FileEntry(file.name, file.size, hash_file(file.path, tell))

        files = list_tree(folder)
        with progress(f"reading {name}", sum(file.size for file in files)) as tell:
            return tuple(in_threads(entry, files, tell))

    def _note(self, manifest: Manifest, seen: dict[str, list[int]]) -> None:
        """Note which version a folder has, and how its files looked."""
        files = {entry.name: {"digest": entry.digest, "seen": seen.get(entry.name)} for entry in manifest.files}
        file = self._note_file(manifest.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(file) as temporary:
            temporary.write_text(json.dumps({"version": manifest.version, "files": files}), encoding="utf-8")

    def _noted(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self._note_file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _note_file(self, name: str) -> Path:
        return self._store.state / "datasets" / name / ".folder"


def _looks(folder: Path) -> dict[str, list[int]]:
    return {file.name: _look(file.path) for file in list_tree(folder)}


def _look(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
