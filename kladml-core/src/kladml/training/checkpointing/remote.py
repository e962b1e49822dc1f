"""The checkpoints of one run in a storage: complete as soon as their manifest is there, verified on their way back."""

from __future__ import annotations

import secrets
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from kladml.errors import CapabilityError, CheckpointError, KladMLError
from kladml.files.scratch import scratch_folder
from kladml.log import get_logger
from kladml.training.checkpointing.format import BEST, MANIFEST, encode_best, step_of
from kladml.training.checkpointing.manifest import Manifest, damaged, verify

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from kladml.interfaces import StorageInterface

log = get_logger(__name__)


def pull(storage: StorageInterface, bucket: str, prefix: str, folder: Path, state: Path | None = None) -> Path | None:
    """Download the newest complete checkpoint, and the best one, so that an empty machine can resume.

    A checkpoint that is damaged or cannot be downloaded is reported, and the one before it is taken.

    Args:
        storage: Where a `CheckpointMirror` put them.
        bucket: The bucket there.
        prefix: How their keys start.
        folder: Where they go, for a `CheckpointStore` to find; it is made when needed.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.

    Returns:
        The newest one, or None if the storage has none.

    Raises:
        StorageError: The storage cannot list its files.
        CheckpointError: There are checkpoints, and none can be used.
    """
    remote = RemoteCheckpoints(storage, bucket, prefix, state)
    names = remote.newest_first()
    newest = next((path for name in names if (path := _attempt(remote, name, folder)) is not None), None)
    if names and newest is None:
        problem = f"none of the {len(names)} checkpoints in {remote} can be used"
        raise CheckpointError(problem, next_step="see the warnings before this, or train anew")
    best = remote.best(names)
    if newest is not None and best is not None and best != newest.name:
        _attempt(remote, best, folder)
    return newest


def _attempt(remote: RemoteCheckpoints, name: str, folder: Path) -> Path | None:
    try:
        return remote.download(name, folder)
    except Exception as error:  # noqa: BLE001 - whatever a storage raises, there may be another checkpoint
        reason = error.problem if isinstance(error, KladMLError) else f"{type(error).__name__}: {error}"
        log.warning(f"the checkpoint {remote}/{name} cannot be used: {reason}")
        return None


class RemoteCheckpoints:
    """Checkpoints under one prefix, `<prefix>/step-00000420/model.safetensors`, written by one training at a time.

    Args:
        storage: The storage.
        bucket: The bucket there.
        prefix: How the keys start.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.
    """

    def __init__(self, storage: StorageInterface, bucket: str, prefix: str, state: Path | None = None) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._state = state
        self._manifests: dict[str, Manifest | None] = {}
        self._can_delete = True

    def __str__(self) -> str:
        """Return the bucket and the prefix."""
        return f"{self._bucket}/{self._prefix}"

    def upload(self, folder: Path) -> None:
        """Store a complete checkpoint: its files, then its manifest, then the pointer if it is the best one so far.

        Raises:
            BackendError: Something cannot be stored; what is there is not seen as a checkpoint.
            CheckpointError: The checkpoint on the disk is damaged.
        """
        manifest, name = Manifest.read(folder), folder.name
        for file in (*manifest.files, MANIFEST):
            self._storage.upload_file(str(folder / file), self._bucket, self._key(name, file))
        self._manifests[name] = manifest
        if manifest.is_best:
            with scratch_folder(self._state) as temporary:
                pointer = temporary / BEST
                pointer.write_bytes(encode_best(name))
                self._storage.upload_file(str(pointer), self._bucket, self._key(BEST))

    def prune(self, keep_last: int, newest: str) -> None:
        """Delete all but some checkpoints, and what an upload that was cut off left; nothing if it cannot delete.

        Args:
            keep_last: How many of the newest stay, besides the best one.
            newest: One that stays in any case.

        Raises:
            BackendError: The storage fails.
        """
        if not self._can_delete:
            return
        keys = self._keys()
        complete = self._newest_first(keys)
        kept = {*complete[:keep_last], self.best(complete), newest}
        for name in keys.keys() - kept:
            # The manifest goes first: what is left without it is no checkpoint.
            manifest = self._key(name, MANIFEST)
            for key in sorted(keys[name], key=lambda key: (key != manifest, key)):
                self._delete(key)

    def newest_first(self) -> list[str]:
        """Return the names of the complete checkpoints, the newest first.

        Raises:
            BackendError: The storage fails.
        """
        return self._newest_first(self._keys())

    def best(self, names: Sequence[str]) -> str | None:
        """Return which of the complete checkpoints, the newest first, is the best one, or None."""
        return next((name for name in names if (manifest := self._manifest(name)) and manifest.is_best), None)

    def download(self, name: str, folder: Path) -> Path:
        """Put a checkpoint into a folder of checkpoints, verified; a whole one that is there already stays.

        Raises:
            BackendError: Something cannot be downloaded.
            CheckpointError: It is damaged.
            OSError: The folder cannot be written to.
        """
        final = folder / name
        if final.is_dir():
            with suppress(CheckpointError):
                verify(final)
                return final
        temporary = folder / f".tmp-pull-{secrets.token_hex(4)}"
        try:
            temporary.mkdir(parents=True)
            data = self._fetch(self._key(name, MANIFEST), temporary / MANIFEST)
            place = f"{self}/{name}"
            for file, entry in Manifest.decode(data, place).files.items():
                self._storage.download_file(self._bucket, self._key(name, file), str(temporary / file))
                if not entry.describes(temporary / file):
                    raise damaged(place, file)
            if final.is_dir():
                final.rename(folder / f".tmp-old-{secrets.token_hex(4)}")  # the next save clears it away
            return temporary.rename(final)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _keys(self) -> dict[str, set[str]]:
        """Return the keys of everything that looks like part of a checkpoint, by the checkpoint's name."""
        keys: dict[str, set[str]] = {}
        for key in self._storage.iter_files(self._bucket, self._key("step-")):
            name, _, file = key.removeprefix(self._key("")).partition("/")
            if file and step_of(name) is not None:
                keys.setdefault(name, set()).add(key)
        return keys

    def _newest_first(self, keys: Mapping[str, Collection[str]]) -> list[str]:
        def age(name: str) -> tuple[int, tuple[int, int] | None]:
            manifest = self._manifest(name)
            return (manifest.sequence if manifest else 0), step_of(name)

        return sorted(
            (name for name, found in keys.items() if self._key(name, MANIFEST) in found), key=age, reverse=True
        )

    def _manifest(self, name: str) -> Manifest | None:
        """Return the manifest of a checkpoint; None, with a warning, if it is damaged."""
        if name not in self._manifests:
            try:
                self._manifests[name] = Manifest.decode(self._content(self._key(name, MANIFEST)), f"{self}/{name}")
            except CheckpointError as error:
                log.warning(f"{error.problem}; it counts as the oldest")
                self._manifests[name] = None
        return self._manifests[name]

    def _content(self, key: str) -> bytes:
        with scratch_folder(self._state) as folder:
            return self._fetch(key, folder / "file")

    def _fetch(self, key: str, file: Path) -> bytes:
        self._storage.download_file(self._bucket, key, str(file))
        return file.read_bytes()

    def _delete(self, key: str) -> None:
        try:
            self._storage.delete_file(self._bucket, key)
        except CapabilityError:
            self._can_delete = False

    def _key(self, *parts: str) -> str:
        return "/".join((self._prefix, *parts) if self._prefix else parts)
