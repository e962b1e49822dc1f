"""Torch's elastic agent, with KladML's supervision of the processes that it starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

from torch.distributed.elastic.agent.server.api import RunResult, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import LogsDest, LogsSpecs, SubprocessContext
from torch.distributed.elastic.rendezvous import RendezvousParameters, registry

from kladml.training.launching.supervision import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from subprocess import Popen

    from torch.distributed.elastic.agent.server.api import WorkerGroup
    from torch.distributed.elastic.multiprocessing.subprocess_handler import SubprocessHandler
    from torch.distributed.elastic.rendezvous import RendezvousHandler

    from kladml.training.launching.launch import Machines
    from kladml.training.launching.rank_folder import RankFolder
    from kladml.training.launching.supervision import Supervision

_NAME = "kladml"


class SupervisedAgent(LocalElasticAgent):
    """An agent that leaves it to a `Supervision` when the processes end.

    The agent's own way is to send SIGTERM to all as soon as one has failed, and SIGKILL 30 seconds later.

    Args:
        spec: What to run.
        logs: Where the processes write.
        supervise: Calls the function that it is given, which starts the processes and returns them by rank,
            and returns their supervision.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        logs: LogsSpecs,
        supervise: Callable[[Callable[[], Mapping[int, Popen[Any]]]], Supervision],
    ) -> None:
        super().__init__(spec, logs)
        self._supervise = supervise
        self._supervision: Supervision | None = None

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        ids: dict[int, Any] = {}

        def start() -> Mapping[int, Popen[Any]]:
            ids.update(super(SupervisedAgent, self)._start_workers(worker_group))
            started = self._started()
            return {worker.global_rank: started[worker.local_rank].proc for worker in worker_group.workers}

        self._supervision = self._supervise(start)
        for process in self._started().values():
            _close_output(process)
        return ids

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        if self._supervision is not None and not self._supervision.look():
            return RunResult(state=WorkerState.HEALTHY)
        result: RunResult = super()._monitor_workers(worker_group)
        return result

    def _started(self) -> Mapping[int, SubprocessHandler]:
        return cast("SubprocessContext", self._pcontext).subprocess_handlers


def _close_output(process: SubprocessHandler) -> None:
    """Close the agent's side of the files that a process writes to, which the agent leaves open for good."""
    for name in ("_stdout", "_stderr"):
        stream = getattr(process, name, None)
        if stream is not None:
            stream.close()


class RankOutput(LogsSpecs):
    """The first rank writes where the agent does, each of the others into files of its own.

    Args:
        folder: Where the files are.
        environment: Variables for every process, besides those of the agent's process.
    """

    def __init__(self, folder: RankFolder, environment: Mapping[str, str]) -> None:
        super().__init__()
        self.folder = folder
        self.environment = environment

    @property
    def root_log_dir(self) -> str:
        """The folder's path."""
        return str(self.folder.path)

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Return the files by local rank; the variables are the agent's to change, as its own `LogsSpecs` do."""
        destination = LogsDest()
        for local_rank, variables in envs.items():
            rank = int(variables["RANK"])
            variables.update(self.environment)
            destination.stdouts[local_rank] = str(self.folder.output(rank)) if rank else ""
            destination.stderrs[local_rank] = str(self.folder.errors(rank)) if rank else ""
            destination.error_files[local_rank] = os.devnull
            if rank:  # what was printed before a sudden death is to be in the file
                variables["PYTHONUNBUFFERED"] = "1"
        return destination


def run_agent(
    command: Sequence[str],
    num_processes: int,
    machines: Machines,
    *,
    logs: LogsSpecs,
    supervise: Callable[[Callable[[], Mapping[int, Popen[Any]]]], Supervision],
) -> None:
    """Run copies of a command until all have ended, after meeting the agents of other machines.

    Args:
        command: The program and its arguments.
        num_processes: How many copies run here.
        machines: Where else they run.
        logs: Where they write.
        supervise: As for `SupervisedAgent`.
    """
    handler = _rendezvous(machines)
    # The agent replaces ${local_rank} in arguments, and with it $$, which are the user's own.
    arguments = tuple(argument.replace("$", "$$") for argument in command[1:])
    spec = WorkerSpec(
        role=_NAME,
        local_world_size=num_processes,
        rdzv_handler=handler,
        entrypoint=command[0],
        args=arguments,
        max_restarts=0,
        monitor_interval=INTERVAL,
        local_addr="localhost" if machines.count == 1 else None,
    )
    try:
        SupervisedAgent(spec, logs, supervise).run()
    finally:
        handler.shutdown()


def _rendezvous(machines: Machines) -> RendezvousHandler:
    """Return how the agents meet: on one machine at a free port, else at the first machine's, in given order."""
    count = machines.count
    if count == 1:
        parameters = RendezvousParameters("c10d", "localhost:0", _NAME, 1, 1, local_addr="localhost")
    else:
        endpoint, timeout = f"{machines.address}:{machines.port}", int(machines.timeout)
        parameters = RendezvousParameters("static", endpoint, _NAME, count, count, rank=machines.rank, timeout=timeout)
    return registry.get_rendezvous_handler(parameters)
