"""Lightning with logger, checkpoints and progress bar off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import _lightning

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "Lightning (all off)", 3
missing = _lightning.missing


def train(job: Job) -> None:
    _lightning.fit(job, log_loss=False, logger=False, enable_progress_bar=False)
