"""How many processes are started, with how many threads."""

from __future__ import annotations

import os

import pytest

from kladml.config import TrainingConfig
from kladml.errors import TrainingError
from kladml_cli import launching
from kladml_cli.distributed_options import MachineOptions
from kladml_cli.launching import processes_here


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(launching, "_cuda_devices", lambda: 2)


def machines(count):
    return MachineOptions(count, 0, "10.0.0.1", 29500)


@pytest.mark.parametrize(("wanted", "count", "here"), [(None, 1, 2), (2, 1, 2), (None, 3, 2), (6, 3, 2), (3, 3, 1)])
def test_gpus_say_how_many_where_nobody_does(two_gpus, wanted, count, here):
    config = TrainingConfig(distributed=True, num_processes=wanted)
    assert processes_here(config, machines(count), on_cpu=False) == here


def test_more_processes_than_gpus_are_refused(two_gpus):
    config = TrainingConfig(distributed=True, num_processes=3)
    with pytest.raises(TrainingError, match="3 processes need 3 GPUs on this machine, which has 2; start fewer"):
        processes_here(config, machines(1), on_cpu=False)
    assert processes_here(config, machines(1), on_cpu=True) == 3


def test_cores_are_shared_unless_the_user_decided(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert launching._threads(3) == {"OMP_NUM_THREADS": "2"}
    assert launching._threads(16) == {"OMP_NUM_THREADS": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launching._threads(3) == {}
