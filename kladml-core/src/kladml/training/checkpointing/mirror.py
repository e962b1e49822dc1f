"""Checkpoints in a storage besides those on the disk, so that a training survives the loss of its machine."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from kladml.errors import KladMLError
from kladml.log import get_logger
from kladml.training.checkpointing.remote import RemoteCheckpoints, pull

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.interfaces import StorageInterface
    from kladml.training.checkpointing.format import SavedCheckpoint

__all__ = ["CheckpointMirror", "pull"]

_SLOW = 60.0  # seconds after which an upload that still goes on is worth a warning
_LINKS = ".mirror-"

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Upload:
    """A checkpoint on its way to the storage.

    Attributes:
        saved: The checkpoint.
        folder: Its files, which stay there whatever is pruned.
        due: Whether to try it now; one that failed waits for the next checkpoint.
        begun: When the attempt that goes on began, in seconds of the monotonic clock.
        slow: Whether a warning said that it takes long.
    """

    saved: SavedCheckpoint
    folder: Path
    due: bool = True
    begun: float = 0.0
    slow: bool = False


class CheckpointMirror:
    """Uploads checkpoints beside the training: the files first, the manifest last, then the pointer to the best one.

    Only the newest checkpoint and the best one matter: what is superseded before its turn comes is left out. A
    storage that is slow or fails is warned about, and neither blocks nor ends the training; what failed is tried
    again with the next checkpoint.

    Args:
        storage: Where the checkpoints go.
        bucket: The bucket there.
        prefix: How their keys start, such as `project/family/experiment/3/checkpoints`.
        keep_last: How many of the newest stay there; the best one stays as well. A storage that cannot delete
            keeps all.
        state: The `.kladml` folder of the workspace, for what is needed for a moment; without it, that goes to the
            system's folder for temporary files.
    """

    def __init__(
        self, storage: StorageInterface, bucket: str, prefix: str, *, keep_last: int = 2, state: Path | None = None
    ) -> None:
        self._remote = RemoteCheckpoints(storage, bucket, prefix, state)
        self._keep_last = keep_last
        self._newest: _Upload | None = None
        self._best: _Upload | None = None
        self._current: _Upload | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._folder: Path | None = None

    def upload_later(self, saved: SavedCheckpoint) -> None:
        """Begin to upload a checkpoint and return.

        Args:
            saved: A complete checkpoint, as `CheckpointStore.finished` returns it; it may be pruned from now on.
        """
        if saved.path.parent != self._folder:
            self._folder = saved.path.parent
            for path in self._folder.glob(f"{_LINKS}*"):  # of a process that was killed
                shutil.rmtree(path, ignore_errors=True)
        if not saved.path.is_dir():
            return  # pruned before its turn came: there is a newer one
        upload = _Upload(saved, _linked(saved.path))
        with self._changed:
            before = self._wanted()
            self._newest = upload
            self._best = upload if saved.is_best else self._best
            self._forget(before)
            self._warn_if_slow()
            self._try_all()

    def wait(self, timeout: float = 60.0) -> list[SavedCheckpoint]:
        """Give what is not uploaded yet a last chance, and say what did not make it.

        Args:
            timeout: How many seconds to wait at most.

        Returns:
            The newest and the best checkpoint, as far as they are only on the disk.
        """
        with self._changed:
            self._try_all()
            self._changed.wait_for(lambda: self._thread is None, timeout)
            left = [upload.saved for upload in self._wanted()]
        for saved in left:
            log.warning(f"the checkpoint {saved.path} is not in {self._remote}: it is on this disk only")
        return left

    def close(self) -> None:
        """Give up what is not uploaded; a thread that hangs in the storage ends with the process."""
        with self._changed:
            before = self._wanted()
            self._newest = self._best = None
            self._forget(before)

    def _wanted(self) -> list[_Upload]:
        """Return what is to be uploaded, the newest first."""
        distinct = dict.fromkeys((self._newest, self._best))
        return [upload for upload in distinct if upload is not None]

    def _forget(self, uploads: list[_Upload]) -> None:
        """Remove the links of uploads that nobody wants any more."""
        for upload in uploads:
            if upload not in (*self._wanted(), self._current) and upload.folder != upload.saved.path:
                shutil.rmtree(upload.folder.parent, ignore_errors=True)

    def _try_all(self) -> None:
        """Let the thread try what is wanted.

        It is a daemon, so that a storage that hangs keeps no process from ending; and it ends when nothing is due,
        so that a process that is forked between two checkpoints copies no thread's state.
        """
        for upload in self._wanted():
            upload.due = upload is not self._current
        if self._thread is None and self._wanted():
            work = partial(copy_context().run, self._work)  # what it logs says of which run it is
            thread = threading.Thread(target=work, name="kladml-checkpoint-mirror", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                log.warning(f"no checkpoint can be uploaded to {self._remote}: {error}; the next one tries again")
            else:
                self._thread = thread

    def _warn_if_slow(self) -> None:
        current = self._current
        if current is not None and not current.slow and (took := time.monotonic() - current.begun) > _SLOW:
            current.slow = True
            log.warning(
                f"the upload of {current.saved.path} to {self._remote} has been going on for {took:.0f} s; "
                "training goes on, and later checkpoints wait on the disk"
            )

    def _work(self) -> None:
        """Upload what is due until nothing is, in the thread."""
        while True:
            with self._changed:
                upload = next((one for one in self._wanted() if one.due), None)
                self._current = upload
                if upload is None:
                    self._thread = None
                    self._changed.notify_all()
                    return
                upload.due, upload.begun = False, time.monotonic()
            uploaded = self._upload(upload)
            with self._changed:
                self._current = None
                if uploaded:
                    self._newest = None if upload is self._newest else self._newest
                    self._best = None if upload is self._best else self._best
                self._forget([upload])

    def _upload(self, upload: _Upload) -> bool:
        """Upload one checkpoint and prune the storage; tell whether it is there."""
        path = upload.saved.path
        try:
            self._remote.upload(upload.folder)
        except Exception as error:  # noqa: BLE001 - whatever a storage raises, the training goes on
            log.warning(
                f"the checkpoint {path} cannot be uploaded to {self._remote}: {_reason(error)}; "
                "it is on the disk, training goes on, and the next checkpoint tries again"
            )
            return False
        try:
            self._remote.prune(self._keep_last, newest=path.name)
        except Exception as error:  # noqa: BLE001
            log.warning(f"older checkpoints in {self._remote} cannot be deleted: {_reason(error)}")
        return True


def _linked(checkpoint: Path) -> Path:
    """Return a folder of hard links to a checkpoint's files, or the checkpoint where the disk has no links."""
    folder = checkpoint.parent / f"{_LINKS}{secrets.token_hex(4)}" / checkpoint.name
    try:
        folder.mkdir(parents=True)
        for file in checkpoint.iterdir():
            os.link(file, folder / file.name)
    except OSError:
        shutil.rmtree(folder.parent, ignore_errors=True)
        return checkpoint
    return folder


def _reason(error: Exception) -> str:
    return error.problem if isinstance(error, KladMLError) else f"{type(error).__name__}: {error}"
