"""Memory that runs out: what is said of it, and that the proposal keeps the effective batch size."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from kladml.errors import TrainingError
from kladml.training.memory import out_of_memory

SAID = "CUDA out of memory. Tried to allocate 2.00 GiB."
OOM = torch.OutOfMemoryError(f"{SAID}\nGPU 0 has a total capacity of …")


class Hungry(nn.Module):
    """Runs out of memory with more than so many samples."""

    def __init__(self, most, error=OOM):
        super().__init__()
        self.net = nn.Linear(3, 1)
        self.most, self.error = most, error

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        if len(inputs) > self.most:
            raise self.error
        return nn.functional.mse_loss(self.net(inputs), targets)


def proposal(trainer, data, size, steps):
    with pytest.raises(TrainingError) as caught:
        trainer(batch_size=size, gradient_accumulation_steps=steps).fit(Hungry(0), data)
    assert caught.value.__cause__ is OOM
    return caught.value


@pytest.mark.parametrize("size", [2, 3, 8, 9, 11, 12, 35, 64])
@pytest.mark.parametrize("steps", [1, 3])
def test_smaller_batches_with_the_same_effective_size_are_proposed(trainer, regression, size, steps):
    error = proposal(trainer, regression(70), size, steps)

    assert (
        error.problem
        == f"memory ran out with a batch of {size} samples: CUDA out of memory. Tried to allocate 2.00 GiB."
    )
    found = re.fullmatch(
        r"set training\.batch_size to (\d+) and training\.gradient_accumulation_steps to (\d+), "
        r"which keeps the effective size of (\d+)",
        error.next_step,
    )
    smaller, more, effective = map(int, found.groups())
    assert smaller < size
    assert smaller * more == effective == size * steps


def test_a_proposal_that_is_followed_leads_to_a_training(trainer, regression):
    """Each error proposes the next try, until one fits."""
    size, steps, tries = 24, 1, []
    while True:
        tries.append(size)
        try:
            trainer(batch_size=size, gradient_accumulation_steps=steps).fit(Hungry(5), regression(24))
            break
        except TrainingError as error:
            size, steps = map(int, re.findall(r"to (\d+)", error.next_step))

    assert tries == [24, 12, 6, 3]
    assert size * steps == 24


def test_one_sample_that_does_not_fit_needs_another_remedy(trainer, regression):
    assert proposal(trainer, regression(3), 1, 4).next_step == "use mixed precision or a smaller model"


def test_a_loader_with_batches_of_its_own_is_named(trainer, regression):
    loader = DataLoader(TensorDataset(*regression(70)), batch_size=20)
    error = proposal(trainer, loader, 8, 1)

    assert error.problem.startswith("memory ran out with a batch of 20 samples")
    assert error.next_step == (
        "set the batch size of your loader to 10 and training.gradient_accumulation_steps to 2, "
        "which keeps the effective size of 20"
    )


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (OOM, True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: …"),
            True,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_means_that_memory_ran_out(error, is_memory):
    assert out_of_memory(error) is is_memory


def test_what_the_host_cannot_allocate_is_told_like_what_a_device_cannot(trainer, regression):
    class Vast(Hungry):
        def training_step(self, batch, batch_idx):
            return self.net(torch.empty(2**55, 3)).sum()

    with pytest.raises(TrainingError, match=r"memory ran out with a batch of 8 samples.*set training.batch_size to 4"):
        trainer().fit(Vast(0), regression(24))
