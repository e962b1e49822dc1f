"""`transformers.Trainer` with everything optional off; it clips only if the job asks for it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

import torch
from jobs import DEVICE
from torch.utils.data import DataLoader, TensorDataset

import contestants

if TYPE_CHECKING:
    from jobs import Job

LABEL, ORDER = "HF transformers.Trainer", 5


def missing() -> str | None:
    return contestants.is_installed("transformers")


def train(job: Job) -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers import Trainer, TrainingArguments

    class JobTrainer(Trainer):
        def get_train_dataloader(self) -> Any:
            return self.accelerator.prepare(job.loader) if isinstance(job.loader, DataLoader) else job.loader

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,  # noqa: FBT001, FBT002 - the signature is the Trainer's
            num_items_in_batch: Any = None,
        ) -> torch.Tensor:
            features, targets = inputs
            return job.loss_fn(model(features), targets)

    optimizer = job.optimizer()
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            use_cpu=DEVICE == "cpu",
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            eval_strategy="no",
            disable_tqdm=True,
            gradient_accumulation_steps=job.accum,
            max_grad_norm=job.clip,
            bf16=job.bf16,
            lr_scheduler_type="constant",
            remove_unused_columns=False,
        )
        unused = TensorDataset(torch.zeros(1))
        JobTrainer(job.model, arguments, train_dataset=unused, optimizers=(optimizer, schedule)).train()
