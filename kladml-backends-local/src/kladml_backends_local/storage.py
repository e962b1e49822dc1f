"""Files in folders: each bucket is a folder below one root."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from kladml.errors import ObjectNotFoundError, StorageError
from kladml.interfaces import StorageInterface
from kladml_backends_local.atomic import TEMPORARY_PREFIX, copy_into_place
from kladml_backends_local.confinement import EscapeError, confined_path
from kladml_backends_local.settings import OWNER, LocalStorageSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kladml.interfaces import BackendContext

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_ATTEMPTS = 5


class LocalStorage(StorageInterface):
    """Keeps files in folders of this machine.

    `upload_file("model.bin", "runs", "3/model.bin")` writes `<root>/runs/3/model.bin`. A file is there as a
    whole or not at all, also after a crash. No key reaches a path outside of the root, not through a symbolic
    link either; listings show real files only and follow no links.

    Args:
        root: Folder that holds the buckets; `data` in the workspace of the current folder by default, which
            is made a workspace if it is none.
    """

    settings_class: ClassVar[type[LocalStorageSettings]] = LocalStorageSettings
    capabilities: ClassVar[frozenset[str]] = frozenset({"delete"})

    def __init__(self, root: str | Path | None = None) -> None:
        if root is None:
            from kladml.workspace import Workspace

            root = Workspace.ensure().data
        # Links above the root are the user's own choice; below it none may leave it.
        self.root = Path(root).expanduser().resolve()

    @classmethod
    def from_settings(cls, settings: LocalStorageSettings, context: BackendContext) -> Self:
        """Build the storage; a relative root is relative to the workspace."""
        return cls(context.workspace / Path(settings.root).expanduser())

    def __repr__(self) -> str:
        """Show the root."""
        return f"LocalStorage({str(self.root)!r})"

    @property
    def default_bucket(self) -> str:
        """The bucket `runs`."""
        return "runs"

    def check(self) -> None:
        """Make the root and write to it.

        Raises:
            StorageError: The root cannot be made or written to.
        """
        with _os_errors(f"the folder {self.root} cannot be written to"):
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
            probe.touch(exist_ok=False)
            probe.unlink()

    def upload_file(
        self, local_path: str | Path, bucket: str, key: str, tell: Callable[[int], object] | None = None
    ) -> str:
        """Copy a local file into the bucket, replacing what was there as a whole; `tell` is told of its bytes.

        Returns:
            The `file://` URI of the stored file.

        Raises:
            StorageError: The local file is none, the bucket or the key is malformed, or the disk refuses.
        """
        source = Path(local_path)
        target = self._path(bucket, key)
        if not source.is_file():
            problem = f"{source} cannot be stored as '{bucket}/{key}': it is no file"
            raise StorageError(problem, owner=OWNER, next_step="check the path")
        with _os_errors(f"{source} cannot be stored as {target}"):
            _copy_with_parents(source, target, tell)
        return target.as_uri()

    def download_file(
        self, bucket: str, key: str, local_path: str | Path, tell: Callable[[int], object] | None = None
    ) -> str:
        """Copy a stored file to a local path, replacing what was there as a whole; `tell` is told of its bytes.

        Raises:
            ObjectNotFoundError: There is no such key or bucket.
            StorageError: The bucket or the key is malformed, or the disk refuses.
        """
        source = self._path(bucket, key)
        target = Path(local_path)
        with _os_errors(f"'{bucket}/{key}' cannot be copied to {target}"):
            if not source.is_file():
                problem = f"there is no '{bucket}/{key}' in {self.root}"
                raise ObjectNotFoundError(problem, owner=OWNER, next_step="check the bucket and the key")
            _copy_with_parents(source, target, tell)
        return str(local_path)

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """List all keys that start with a prefix, in ascending order.

        Raises:
            StorageError: The name of the bucket is malformed, or the disk refuses.
        """
        top = self._bucket(bucket)
        folder = prefix.rpartition("/")[0]
        try:
            start = confined_path(top, folder) if folder else top
        except EscapeError:
            return []  # no key starts like that
        with _os_errors(f"'{bucket}/{prefix}' cannot be listed"):
            return sorted(key for key in _walk(start, f"{folder}/" if folder else "") if key.startswith(prefix))

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether a key exists."""
        with _os_errors(f"'{bucket}/{key}' cannot be looked up"):
            return self._path(bucket, key).is_file()

    def delete_file(self, bucket: str, key: str) -> None:
        """Delete a key and the folders that are empty without it; deleting an absent one is harmless."""
        path = self._path(bucket, key)
        top = self._bucket(bucket)
        with _os_errors(f"{path} cannot be deleted"):
            if not path.is_file():
                return
            path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == top:
                break
            try:
                folder.rmdir()
            except OSError:  # it is not empty, or another process was first
                break

    def _bucket(self, bucket: str) -> Path:
        if not _BUCKET.fullmatch(bucket) or bucket.endswith("."):
            problem = f"'{bucket}' cannot be the name of a bucket"
            raise StorageError(
                problem,
                owner=OWNER,
                next_step="use up to 100 letters, digits, '.', '_' or '-', a letter or digit first",
            )
        return self._confined(self.root, bucket, f"the bucket '{bucket}'")

    def _path(self, bucket: str, key: str) -> Path:
        top = self._bucket(bucket)
        if any(part.startswith(TEMPORARY_PREFIX) for part in key.split("/")):
            problem = f"the key '{key}' starts like an unfinished file"
            raise StorageError(
                problem, owner=OWNER, next_step=f"choose a name that does not start with {TEMPORARY_PREFIX}"
            )
        return self._confined(top, key, f"the key {key!r}")

    def _confined(self, folder: Path, name: str, what: str) -> Path:
        try:
            return confined_path(folder, name)
        except EscapeError as error:
            problem = f"{what} {error}"
            raise StorageError(
                problem, owner=OWNER, next_step="use relative keys such as runs/3/model.bin inside of the root"
            ) from error


def _walk(start: Path, prefix: str) -> Iterator[str]:
    """Yield the keys of the real files below a folder, in no particular order."""
    # Keys are put together as text, since a Path per file would cost most of a long listing.
    pending = [(str(start), prefix)]
    while pending:
        folder, key_prefix = pending.pop()
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):  # absent, or deleted meanwhile
            continue
        with entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((entry.path, f"{key_prefix}{entry.name}/"))
                elif entry.is_file(follow_symlinks=False) and not entry.name.startswith(TEMPORARY_PREFIX):
                    yield f"{key_prefix}{entry.name}"


def _copy_with_parents(source: Path, target: Path, tell: Callable[[int], object] | None) -> None:
    """Copy a file into place, making the folders above it."""
    for attempt in range(1, _ATTEMPTS + 1):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy_into_place(source, target, tell)
        except FileNotFoundError:
            # Another process may have pruned the folder, empty as it still was, after deleting its last file.
            if attempt == _ATTEMPTS or not source.exists():
                raise
        else:
            return


@contextmanager
def _os_errors(problem: str) -> Iterator[None]:
    """Turn an error of the operating system into a `StorageError`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) not in problem else ""
        text = f"{problem}: {error.strerror or error}{where}"
        raise StorageError(
            text, owner=OWNER, next_step="check the path, its permissions and the space on the disk"
        ) from error
