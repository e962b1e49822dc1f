"""Lightning with its progress bar, its CSV logger and `self.log(..., prog_bar=True)`."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from contestants import _lightning

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "Lightning (bar, CSV, self.log)", 4
missing = _lightning.missing


def train(job: Job) -> None:
    from lightning.pytorch.loggers import CSVLogger

    with tempfile.TemporaryDirectory() as folder:
        _lightning.fit(job, log_loss=True, logger=CSVLogger(folder), enable_progress_bar=True)
