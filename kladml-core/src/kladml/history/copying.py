"""Copying the files of a run to another storage, and proving that they got there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kladml.errors import CapabilityError, StorageError
from kladml.files.scratch import scratch_folder
from kladml.history.weights import sha256_of
from kladml.interfaces.telling import download_telling, upload_telling

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.history.pages import RunPage
    from kladml.interfaces import StorageInterface


@dataclass(frozen=True, slots=True)
class Place:
    """A storage and a bucket in it.

    Attributes:
        name: Name of the storage.
        storage: The storage.
        bucket: The bucket.
    """

    name: str
    storage: StorageInterface
    bucket: str

    def __str__(self) -> str:
        """Return how people read it."""
        return f"storage {self.name} ({self.bucket})"


@dataclass
class CopiedFiles:
    """The files of a run that are in another storage now.

    Attributes:
        sha256: The SHA-256 of each file by its key, as it was read back from there.
        already_there: Keys that were there before, with the same content.
    """

    sha256: dict[str, str] = field(default_factory=dict)
    already_there: list[str] = field(default_factory=list)


def files_of(page: RunPage, source: Place | None) -> list[str]:
    """Return the names of the files of a run, in its storage, or in its folder where it has none."""
    if source is not None:
        prefix = f"{page.run.address.path}/"
        return [key.removeprefix(prefix) for key in source.storage.iter_files(source.bucket, prefix)]
    kept = page.folder / "artifacts"
    return sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())


def bytes_to_copy(page: RunPage, source: Place | None) -> int | None:
    """Return how many bytes copying the files of a run moves, there and back; None where a storage has them.

    A storage tells no sizes before it gives a file.
    """
    if source is not None:
        return None
    return 2 * sum((page.folder / "artifacts" / name).stat().st_size for name in files_of(page, source))


def copy_files(
    page: RunPage,
    source: Place | None,
    target: Place,
    tell: Callable[[int], object] = lambda _: None,
    state: Path | None = None,
) -> CopiedFiles:
    """Copy the files of a run to another storage, and read each back to compare its SHA-256.

    Args:
        page: The run.
        source: Where they are, or None for the run's folder.
        target: Where they go, under the same keys.
        tell: Is told each number of bytes that moved, there and back, also by other threads.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.

    Raises:
        StorageError: A file cannot be copied, arrived damaged, or is another one there.
    """
    copied = CopiedFiles()
    with scratch_folder(state) as folder:
        for name in files_of(page, source):
            key = f"{page.run.address.path}/{name}"
            if source is None:
                local = page.folder / "artifacts" / name
            else:
                local = folder / "source"
                download_telling(source.storage, source.bucket, key, local, tell)
            digest = sha256_of(local)
            if target.storage.exists(target.bucket, key):
                tell(local.stat().st_size)
                _check(target, key, digest, folder / "target", tell)
                copied.already_there.append(key)
            else:
                upload_telling(target.storage, local, target.bucket, key, tell)
                _check(target, key, digest, folder / "target", tell, is_new=True)
            copied.sha256[key] = digest
    return copied


def _check(
    target: Place, key: str, digest: str, file: Path, tell: Callable[[int], object], *, is_new: bool = False
) -> None:
    """Compare what is in a storage; what has just arrived there and is damaged does not stay."""
    try:
        download_telling(target.storage, target.bucket, key, file, tell)
        found = sha256_of(file)
    except StorageError:  # some storages notice themselves that they do not give back what they were given
        if is_new:
            with suppress(StorageError, CapabilityError):
                target.storage.delete_file(target.bucket, key)
        raise
    if found == digest:
        return
    what, step = "another file", "delete it there"
    if is_new:
        what = "damaged"
        if "delete" in target.storage.capabilities:
            target.storage.delete_file(target.bucket, key)
            what, step = "damaged, and was deleted", "check the way there"
    problem = f"{key} in {target} is {what}: its SHA-256 is {found}, and that of the run's file {digest}"
    raise StorageError(problem, next_step=f"{step}, and copy the run once more")
