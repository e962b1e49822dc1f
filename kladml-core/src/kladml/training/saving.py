"""Saving checkpoints beside the training: begun here, written and uploaded by others, told of when complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kladml.training.checkpointing.content import load_state

if TYPE_CHECKING:
    from pathlib import Path

    from kladml.training.audience import Audience
    from kladml.training.checkpointing.mirror import CheckpointMirror
    from kladml.training.checkpointing.store import Checkpoint, CheckpointStore


class Saving:
    """Hands checkpoints to the store and the mirror, and tells callbacks of those that got complete.

    Args:
        store: Where checkpoints go; None on processes that write none.
        mirror: Where they are uploaded to besides, or None.
        audience: Who is told.

    Attributes:
        begun: Checkpoints that were begun and not told of yet; those that failed stay among them.
        last: The newest complete checkpoint of this training, or None.
        best: The best one, or None.
    """

    def __init__(self, store: CheckpointStore | None, mirror: CheckpointMirror | None, audience: Audience) -> None:
        self.store, self.mirror, self.audience = store, mirror, audience
        self.begun = 0
        self.last: Path | None = None
        self.best: Path | None = None

    def resume(self, judge: dict[str, Any]) -> None:
        """Take over which checkpoint was the best, if it is that of the training that goes on.

        Args:
            judge: The judge's state in the checkpoint from which it goes on; a best one that is newer belongs to
                what came after it and is abandoned.
        """
        best = None if self.store is None else self.store.best()
        if best is not None and load_state(best)["judge"]["best"]["best"] == judge["best"]["best"]:
            self.best = best

    def begin(self, content: Checkpoint, step: int, *, is_best: bool) -> None:
        """Copy the content and return; it is written meanwhile."""
        if self.store is not None:
            self.store.save_later(content, step, is_best=is_best)
            self.begun += 1

    def tell(self) -> None:
        """Tell callbacks of the checkpoints that got complete since the last time, and begin to upload them."""
        if self.store is None:
            return
        for saved in self.store.finished():
            self.begun -= 1
            self.last = saved.path
            self.best = saved.path if saved.is_best else self.best
            if self.mirror is not None:
                self.mirror.upload_later(saved)
            self.audience.tell("on_checkpoint_saved", saved.path, saved.step, is_best=saved.is_best)

    def complete(self) -> None:
        """Wait until what was begun is on the disk, and in the storage as far as that answers."""
        if self.store is None:
            return
        self.store.wait()
        self.tell()
        if self.mirror is not None:
            self.mirror.wait()
