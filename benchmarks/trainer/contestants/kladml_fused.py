"""KladML's `UniversalTrainer` with the fused kernel of the job's optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import kladml

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "KladML, fused optimizer", 8
REFERENCE = kladml.REFERENCE
FUSED = True
missing = kladml.missing


def train(job: Job) -> None:
    job.fuse_optimizer()
    kladml.train(job)
