"""What both Lightning contestants share."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from jobs import DEVICE

import contestants

if TYPE_CHECKING:
    import torch
    from jobs import Batch, Job


def missing() -> str | None:
    return contestants.is_installed("lightning")


def fit(job: Job, *, log_loss: bool, **trainer_options: Any) -> None:
    import lightning

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = job.model

        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            inputs, targets = batch
            loss = job.loss_fn(self.model(inputs), targets)
            if log_loss:
                self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return job.optimizer()

    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu" if DEVICE == "cpu" else "gpu",
        devices=1,
        accumulate_grad_batches=job.accum,
        gradient_clip_val=job.clip or None,
        precision="bf16-mixed" if job.bf16 else "32-true",
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        **trainer_options,
    )
    trainer.fit(Module(), train_dataloaders=job.loader)
