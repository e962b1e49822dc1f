"""`kladml train` in several processes: starting copies of the command, and telling how they ended."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from kladml.errors import TrainingError
from kladml_cli.rank_failures import is_failure, tell, tell_of_output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kladml.config import TrainingConfig
    from kladml.training.launching.launch import LaunchResult
    from kladml.training.launching.rank_folder import RankFolder
    from kladml_cli.configuration import Configuration
    from kladml_cli.distributed_options import MachineOptions


def is_started_by_launcher() -> bool:
    """Tell whether a launcher (ours, or torchrun) started this process as one of several that train together."""
    return "RANK" in os.environ or "WORLD_SIZE" in os.environ or "LOCAL_RANK" in os.environ


def needs_several(training: TrainingConfig, machines: MachineOptions) -> bool:
    """Tell whether a configuration asks for several processes.

    Raises:
        TrainingError: It says how many, and not that there are to be several.
    """
    several = (training.num_processes or 1) > 1 or machines.num_machines > 1
    if several and not training.distributed:
        count = f"training.num_processes is {training.num_processes}"
        problem = f"{count if machines.num_machines == 1 else 'several machines'}, and training.distributed is false"
        raise TrainingError(problem, next_step="add --distributed, or set training.num_processes to 1")
    return training.distributed and (training.num_processes != 1 or machines.num_machines > 1)


def train_in_several(
    arguments: Sequence[str],
    configuration: Configuration,
    machines: MachineOptions,
    when_they_start: Callable[[], object] = lambda: None,
) -> int:
    """Run copies of this command that train together, tell how they ended, and return the exit status.

    Args:
        arguments: What follows `kladml` on the command line.
        configuration: The resolved configuration.
        machines: Which machines take part.
        when_they_start: What is called before they have the terminal.

    Raises:
        TrainingError: The processes cannot be started.
        KladMLError: A selected backend cannot be used.
    """
    from kladml.training.launching.launch import launch
    from kladml.training.launching.rank_folder import RankFolder

    training = configuration.resolved.run.training
    configuration.check_backends()
    on_cpu = training.device == "cpu" or (training.device == "auto" and _cuda_devices() == 0)
    here = processes_here(training, machines, on_cpu=on_cpu)
    # On the local disk: a network's may know neither locks nor shared memory.
    folder = RankFolder(Path(tempfile.mkdtemp(prefix="kladml-ranks-")))
    when_they_start()
    result = launch(
        [sys.executable, "-m", "kladml_cli", *arguments],
        num_processes=here,
        folder=folder,
        machines=machines.to_launch(),
        timeout=training.timeout,
        environment=_threads(here) if on_cpu else {},
    )
    tell(result, here * machines.num_machines, _outcome(folder, configuration, result))
    if not (is_failure(result) and tell_of_output(folder)):
        shutil.rmtree(folder.path, ignore_errors=True)
    return result.exit_code


def processes_here(training: TrainingConfig, machines: MachineOptions, *, on_cpu: bool) -> int:
    """Return how many processes run on this machine.

    Raises:
        TrainingError: The number is not known, or does not fit the machines or the GPUs.
    """
    devices = 0 if on_cpu else _cuda_devices()
    total = training.num_processes or devices * machines.num_machines
    if training.num_processes is None and total <= 1:
        found = f"has {devices or 'no'} GPU{'s' * (devices != 1)} that would say how many"
        problem = f"training.distributed is true without training.num_processes, and this machine {found}"
        raise TrainingError(problem, next_step="give the number with --num-processes N")
    here, rest = divmod(total, machines.num_machines)
    if rest:
        problem = f"{total} processes cannot be shared evenly by {machines.num_machines} machines"
        raise TrainingError(problem, next_step="give --num-processes a multiple of --num-machines")
    if not on_cpu and training.device != "mps" and here > devices:
        problem = f"{here} processes need {here} GPUs on this machine, which has {devices}"
        raise TrainingError(problem, next_step="start fewer, or set training.device to cpu")
    return here


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _threads(processes: int) -> dict[str, str]:
    """Return variables with which the processes share the machine's cores, unless the user decided on threads."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes))}


def _outcome(folder: RankFolder, configuration: Configuration, result: LaunchResult) -> str:
    """Return what became of the run, as a clause, after recording it if no process did; empty if it had not begun."""
    from kladml_cli.run_note import RunNote, ended_note

    note = RunNote.read(folder.run)
    if note is None:
        return ""
    if result.exit_code == 0:
        return note.outcome
    cause = result.cause
    error = "interrupted" if cause is None else cause.text.splitlines()[-1]
    return ended_note(note, configuration, "FAILED" if is_failure(result) else "KILLED", error).outcome
