"""Checkpoints on the disk: safetensors and JSON, complete or absent, each file with its sha256.

```text
checkpoints/
  step-00000420/
    model.safetensors       the module's state dict, clean keys
    optimizer.safetensors   tensors of the optimizer's state
    state.json              everything else: counters, groups, schedule, monitors, versions
    rank-00000.safetensors  what belongs to one process: random states, gradients inside a window
    MANIFEST.json           size and sha256 of each file, place in the order of writing, whether it was the best
                            one; written last
  best.json                 name of the best checkpoint, for people and other programs
```
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
from collections import deque
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING

from kladml.errors import CheckpointError
from kladml.log import get_logger
from kladml.training.checkpointing.content import Checkpoint, load, optimizer_content, optimizer_state
from kladml.training.checkpointing.format import (
    BEST,
    MANIFEST,
    MODEL,
    OPTIMIZER,
    STATE,
    SavedCheckpoint,
    fsync_folder,
    point_best_to,
    step_of,
    write_file,
)
from kladml.training.checkpointing.manifest import (
    Manifest,
    best_in,
    checkpoints_in,
    latest_in,
    sequence_of,
    verify,
)
from kladml.training.checkpointing.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "BEST",
    "MANIFEST",
    "MODEL",
    "OPTIMIZER",
    "STATE",
    "Checkpoint",
    "CheckpointStore",
    "SavedCheckpoint",
    "load",
    "optimizer_content",
    "optimizer_state",
    "verify",
]

log = get_logger(__name__)
_UNFIT = (TypeError, ValueError, RecursionError)  # what comes of content that cannot be kept without pickle


class CheckpointStore:
    """Writes, verifies and prunes the checkpoints of one run.

    Args:
        folder: Where the checkpoints are; it is made when needed.
        keep_last: How many of the newest stay; the best one stays as well.

    Attributes:
        failures: Why saves failed that were to be written later, the oldest first.
    """

    def __init__(self, folder: Path, *, keep_last: int = 2) -> None:
        self.folder = folder
        self.keep_last = keep_last
        self.failures: list[CheckpointError] = []
        self._snapshot = Snapshot()
        self._thread: threading.Thread | None = None
        self._finished: deque[SavedCheckpoint] = deque()

    def save(self, checkpoint: Checkpoint, step: int, *, is_best: bool = False) -> Path:
        """Write a checkpoint, then make it the best one if it is, then prune.

        The files go to a temporary folder which is renamed when all of them are on the disk, so that a kill
        at any moment leaves the checkpoints before it whole.

        Args:
            checkpoint: What to keep.
            step: Optimizer steps taken so far; a checkpoint of the same step is replaced once the new one is whole.
            is_best: Whether it is the best one so far.

        Returns:
            Its folder.

        Raises:
            CheckpointError: It cannot be written, or holds what cannot be kept without pickle.
        """
        self.wait()
        try:
            self._snapshot.take(checkpoint)
            path = self._write(step, is_best=is_best)
        except (*_UNFIT, OSError, RuntimeError, MemoryError) as error:
            raise self._failure(step, error) from error
        self._prune(path)
        return path

    def save_later(self, checkpoint: Checkpoint, step: int, *, is_best: bool = False) -> None:
        """Copy a checkpoint's content and return; a thread writes it as `save` does.

        A save before it that has not ended is waited for. One that fails is warned about and noted in `failures`;
        the checkpoints before it stay whole, and the next save tries anew.

        Args:
            checkpoint: What to keep; all of it may change once this returns.
            step: Optimizer steps taken so far.
            is_best: Whether it is the best one so far.

        Raises:
            CheckpointError: It holds what cannot be kept without pickle.
        """
        self.wait()
        try:
            self._snapshot.take(checkpoint)
            self._start(lambda: self._write_later(step, is_best=is_best))
        except _UNFIT as error:
            raise self._failure(step, error) from error
        except (RuntimeError, MemoryError) as error:  # no memory for the copy, or for the thread
            self._note(step, error)

    def finished(self) -> list[SavedCheckpoint]:
        """Return what `save_later` began and has become complete since the last call, the oldest first."""
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def wait(self) -> None:
        """Wait until everything that was begun is complete or has failed."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Wait as `wait` does, and let go of the memory that the copies took."""
        self.wait()
        self._snapshot = Snapshot()

    def all(self) -> list[Path]:
        """Return the folders of all checkpoints in the order of writing, the oldest first.

        One whose manifest is damaged counts as the oldest.
        """
        return [path for path in checkpoints_in(self.folder) if (path / MANIFEST).is_file()]

    def latest(self) -> Path | None:
        """Return the newest checkpoint that verifies; one that does not is reported and passed over."""
        return latest_in(self.folder)

    def best(self) -> Path | None:
        """Return the newest checkpoint that was the best one when it was saved, or None."""
        return best_in(self.folder)

    def _write(self, step: int, *, is_best: bool) -> Path:
        temporary = self.folder / f".tmp-{step}-{secrets.token_hex(4)}"
        try:
            temporary.mkdir(parents=True)
            entries = {name: write_file(temporary / name, parts) for name, parts in self._snapshot.files().items()}
            before = [sequence_of(path) for path in self.all()]
            manifest = Manifest.of(entries, max(before, default=0) + 1, is_best=is_best)
            write_file(temporary / MANIFEST, [manifest.encode()])
            fsync_folder(temporary)
            final = temporary.rename(self._free_name(step))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        fsync_folder(self.folder)
        if is_best:
            try:
                point_best_to(final)
            except OSError as error:  # its manifest says it too
                log.warning(f"{self.folder / BEST} does not name {final.name}, which is the best checkpoint: {error}")
        return final

    def _start(self, job: Callable[[], None]) -> None:
        """Start a thread for one save.

        It is no daemon, so that an interpreter which ends in order finishes the save; and it ends with the save, so
        that processes which are forked between two saves copy no thread's state.
        """
        in_context = partial(copy_context().run, job)  # what it logs says of which run it is
        thread = threading.Thread(target=in_context, name="kladml-checkpoint-writer", daemon=False)
        thread.start()
        self._thread = thread

    def _write_later(self, step: int, *, is_best: bool) -> None:
        """Write what was copied, in the writer's thread, where nobody would see an error."""
        try:
            path = self._write(step, is_best=is_best)
        except Exception as error:  # noqa: BLE001 - the training goes on whatever it is
            self._note(step, error)
        else:
            self._finished.append(SavedCheckpoint(path, step, is_best))
            self._prune(path)

    def _failure(self, step: int, error: Exception) -> CheckpointError:
        """Return the error that names a checkpoint which failed and the way out."""
        reason = str(error) or type(error).__name__
        if isinstance(error, _UNFIT):
            hint = "keep tensors and plain values in states"
        elif isinstance(error, OSError):
            hint = "free some space or choose another workspace"
        else:
            hint = "free some memory, or let the process start more threads"
        problem = f"the checkpoint of step {step} cannot be written to {self.folder}: {reason}"
        return CheckpointError(problem, next_step=hint)

    def _note(self, step: int, error: Exception) -> None:
        """Keep and report a failure that ends nothing."""
        failure = self._failure(step, error)
        failure.__cause__ = error
        self.failures.append(failure)
        good = [path for path in self.all() if sequence_of(path)]
        kept = f"the last good one is {good[-1]}" if good else "there is none before it"
        log.warning(f"{failure}; {kept}; training goes on, and the next checkpoint tries again")

    def _free_name(self, step: int) -> Path:
        ages = [age for path in self.folder.glob("step-*") if (age := step_of(path.name)) is not None]
        same_step = [number for other, number in ages if other == step]
        return self.folder / (f"step-{step:08d}-{max(same_step) + 1}" if same_step else f"step-{step:08d}")

    def _prune(self, newest: Path) -> None:
        """Remove what is superseded, old or unfinished, but neither the newest checkpoint nor the best one."""
        ordered = checkpoints_in(self.folder)
        latest_of_step = {_step(path): path for path in ordered}
        replaced = [path for path in ordered if path != latest_of_step[_step(path)]]
        older = [path for path in ordered if path not in {*replaced, newest}]
        best = self.best()
        for path in (*replaced, *older[: max(0, len(older) - self.keep_last + 1)]):
            if path != best:
                with contextlib.suppress(OSError):  # such as one that is open on Windows; the next save tries again
                    path.rename(self.folder / f".tmp-old-{secrets.token_hex(4)}")
        for path in self.folder.glob(".tmp-*"):
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _step(checkpoint: Path) -> int:
    """Return the step in the name of a checkpoint's folder."""
    age = step_of(checkpoint.name)
    return -1 if age is None else age[0]
