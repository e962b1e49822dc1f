"""What a step costs beside a raw loop, in counts that no load of the machine changes."""

from __future__ import annotations

import cProfile
import pstats

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from kladml.config.schema import TrainingConfig
from kladml.training import UniversalTrainer

BATCHES, WARM = 60, 20
MORE_CALLS, MORE_OPERATIONS = 30, 4
"""What a step may cost more than the raw loop's."""


class Ready(Dataset):
    """Batches that lie ready."""

    def __init__(self):
        torch.manual_seed(0)
        self.batches = [(torch.randn(32, 8), torch.randn(32, 1)) for _ in range(BATCHES)]

    def __len__(self):
        return BATCHES

    def __getitem__(self, index):
        return self.batches[index]


class Counted(nn.Module):
    """Counts the interpreter's calls between two of its forwards."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        self.forwards = 0
        self.profile = cProfile.Profile()

    def forward(self, inputs):
        if self.forwards == WARM:
            self.profile.enable()
        elif self.forwards == BATCHES - 1:
            self.profile.disable()
        self.forwards += 1
        return self.net(inputs)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)

    @property
    def calls(self):
        """Calls per step."""
        return sum(row[1] for row in pstats.Stats(self.profile).stats.values()) / (BATCHES - 1 - WARM)


def raw_loop(model, loader, clip):
    optimizer = model.configure_optimizers()
    for inputs, targets in loader:
        nn.functional.mse_loss(model(inputs), targets).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()


def kladml(model, loader, clip):
    config = TrainingConfig(max_epochs=1, device="cpu", gradient_clipping=clip, log_every=0)
    UniversalTrainer(config).fit(model, loader, loss=nn.functional.mse_loss)


def operations(train, clip):
    """Return the aten operations of a training."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        train(Counted(), DataLoader(Ready(), batch_size=None), clip)
    return sum(event.count for event in profile.key_averages() if event.key.startswith("aten::"))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_makes_hardly_more_calls_than_a_raw_loop(clip):
    models = {train: Counted() for train in (raw_loop, kladml)}
    for train, model in models.items():
        train(model, DataLoader(Ready(), batch_size=None), clip)
    assert models[kladml].calls <= models[raw_loop].calls + MORE_CALLS
    for ours, raw in zip(models[kladml].parameters(), models[raw_loop].parameters(), strict=True):
        assert torch.equal(ours, raw)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_runs_hardly_more_operations_than_a_raw_loop(clip):
    # What a fit does once is allowed half an operation a step.
    assert operations(kladml, clip) <= operations(raw_loop, clip) + (MORE_OPERATIONS + 0.5) * BATCHES
