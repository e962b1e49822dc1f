"""What processes tell one another, and that as many join as were asked for."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import time

import pytest
import torch
import torch.distributed as dist
from torch import nn

from kladml.config import TrainingConfig
from kladml.errors import PeerLostError
from kladml.training import UniversalTrainer
from kladml.training.ranks import Ranks, join, peers_watched


def rank_of_this():
    return int(os.environ.get("RANK", "0"))


def joined(**settings):
    return join(TrainingConfig(device="cpu", distributed=True, **settings))


VALUES = [None, True, 7, 0.1, "é\n", [], {"a": [1.5, {"b": None}]}, "x" * 100_000]


def tell():
    ranks = joined()
    mine = [f"{ranks.rank}".encode() * ranks.rank * 1000, b"", bytes([ranks.rank]), b"\0" * (ranks.rank == 1)]
    tensors = [torch.full((3, 2), float(ranks.rank)), torch.tensor(ranks.rank), torch.rand(5, dtype=torch.float64)]
    ranks.share(tensors)
    large = 2.0**52 if ranks.is_main else 1.0  # 32 bits would lose the ones
    return {
        "ranks": [ranks.rank, ranks.world, ranks.is_main],
        "broadcast": [ranks.broadcast(value if ranks.is_main else "not mine") for value in VALUES],
        "gather": [[part.decode("latin1") for part in ranks.gather(data)] for data in mine],
        "add": ranks.add([ranks.rank, large, 1e-300, math.inf]),
        "nan": math.isnan(ranks.add([math.nan if ranks.rank == 1 else 1.0])[0]),
        "none": ranks.add([]),
        "again": joined().rank,
        "tensors": {str(number): tensor for number, tensor in enumerate(tensors)},
    }


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_tell_one_another_numbers_bytes_and_json(run_ranks, world):
    ends = run_ranks(world, tell)

    for rank, end in enumerate(ends):
        found = end.returned
        assert found["ranks"] == [rank, world, rank == 0]
        assert found["broadcast"] == VALUES
        assert found["gather"] == [
            [str(other) * other * 1000 for other in range(world)],
            [""] * world,
            [chr(other) for other in range(world)],
            ["\0" if other == 1 else "" for other in range(world)],
        ]
        assert found["add"] == [
            sum(range(world)),
            2.0**52 + world - 1,
            pytest.approx(world * 1e-300, rel=1e-12, abs=0),
            math.inf,
        ]
        assert found["nan"] is True
        assert found["none"] == []
        assert found["again"] == rank
        for name, tensor in end.tensors.items():
            assert torch.equal(tensor, ends[0].tensors[name])
    assert ends[0].tensors["0"].eq(0).all(), "they are the main process's"


ENDS_IN_ORDER = """
import atexit
import torch.distributed as dist
atexit.register(lambda: print(dist.is_initialized()))
from kladml.config import TrainingConfig
from kladml.training.ranks import join
join(TrainingConfig(device="cpu", distributed=True))
print(dist.is_initialized())
"""


def test_a_process_that_ends_in_order_leaves_the_others_first():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", ENDS_IN_ORDER],
            env={**os.environ, **meeting, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert said == ["True\nFalse\n"] * 2


def test_a_single_process_is_its_own_peer():
    ranks = Ranks()

    assert ranks.broadcast({"a": (1, 2)}) == {"a": (1, 2)}
    assert ranks.gather(b"ab") == [b"ab"]
    assert ranks.add([1.0, math.inf]) == [1.0, math.inf]
    assert ranks.is_main


def lose_a_peer(how):
    ranks = joined(timeout=600.0)
    ranks.add([1.0])
    if ranks.rank == ranks.world - 1:
        os._exit(7)
    began = time.monotonic()
    calls = {
        "add": lambda: ranks.add([1.0]),
        "gather": lambda: ranks.gather(b"a"),
        "broadcast": lambda: [ranks.broadcast("a") for _ in range(50)],
        "share": lambda: [ranks.share([torch.ones(3)]) for _ in range(50)],
    }
    try:
        calls[how]()
        ranks.add([1.0])
    except PeerLostError as error:
        return {"seconds": time.monotonic() - began, "said": str(error), "cause": type(error.__cause__).__name__}


@pytest.mark.parametrize("how", ["add", "gather", "broadcast", "share"])
def test_a_process_that_is_gone_is_noticed_at_once_by_all_others(run_ranks, how):
    *others, lost = run_ranks(3, lose_a_peer, how=how, fails=True)

    assert lost.exit_code == 7
    for end in others:
        assert end.exit_code == 0, end.log
        assert "another process of the training ended or no longer answers" in end.returned["said"]
        assert end.returned["cause"] != "NoneType"
        assert end.returned["seconds"] < 60, "long before the timeout of 600 s"


def raised_in(module, error):
    """Raise an error in a function of the module of that name."""
    scope = {"__name__": module, "error": error}
    exec("def call():\n    raise error", scope)  # noqa: S102
    scope["call"]()


@pytest.mark.parametrize(
    ("module", "error", "lost"),
    [
        ("torch.distributed", RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection reset by peer"), True),
        ("torch.autograd.graph", RuntimeError("Timed out waiting 1800000ms for recv operation to complete"), True),
        ("torch.distributed", dist.DistNetworkError("The client socket has failed to connect"), True),
        ("torch.nn.functional", RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"), False),
        ("torch.distributed", RuntimeError(""), False),
        ("torchlike", RuntimeError("Connection reset by peer"), False),
        ("users.model", RuntimeError("Timed out waiting for the data base"), False),
        ("torch.distributed", ValueError("Connection reset by peer"), False),
    ],
)
def test_errors_of_torch_that_mean_a_lost_process_are_told_from_others(module, error, lost):
    with pytest.raises((PeerLostError, RuntimeError, ValueError)) as raised, peers_watched():
        raised_in(module, error)

    assert isinstance(raised.value, PeerLostError) is lost
    assert (raised.value.__cause__ if lost else raised.value) is error


def train_with(num_processes, own=None, timeout=600.0, distributed=True):
    """Train with so many processes wanted; `own` is what the rank of that number wants instead."""
    wanted = (own or {}).get(str(rank_of_this()), num_processes)
    config = TrainingConfig(
        device="cpu", max_epochs=1, distributed=distributed, num_processes=wanted, timeout=timeout, log_every=0
    )
    module, began = nn.Linear(3, 1), time.monotonic()
    nn.init.ones_(module.weight)
    said = steps = None
    try:
        steps = UniversalTrainer(config).fit(module, (torch.ones(64, 3), torch.ones(64, 1)), loss="mse").steps
    except Exception as error:  # noqa: BLE001 - the test judges it
        said = f"{type(error).__name__}: {error}"
    changed = bool((module.weight != 1).any())
    return {"said": said, "steps": steps, "changed": changed, "seconds": time.monotonic() - began}


@pytest.mark.parametrize(("world", "wanted"), [(1, 2), (2, 1), (2, 3), (3, 2)])
def test_another_number_of_processes_than_asked_for_ends_all_before_a_step(run_ranks, world, wanted):
    for end in run_ranks(world, train_with, num_processes=wanted):
        found = end.returned
        assert found["said"].startswith("TrainingError")
        assert str(wanted) in found["said"]
        assert (f"launcher started {world} processes" if world > 1 else "no launcher") in found["said"]
        assert not found["changed"]
        assert found["seconds"] < 60


@pytest.mark.parametrize("wanted", [2, None])
def test_the_number_of_processes_asked_for_trains(run_ranks, wanted):
    for end in run_ranks(2, train_with, num_processes=wanted):
        assert (end.returned["said"], end.returned["steps"], end.returned["changed"]) == (None, 1, True)


def test_a_process_that_never_comes_ends_the_others_after_the_timeout(run_ranks):
    for end in run_ranks(2, train_with, num_processes=None, timeout=2.0, environment={"WORLD_SIZE": "3"}):
        assert end.returned["said"].startswith("PeerLostError: another process")
        assert not end.returned["changed"]
        assert end.returned["seconds"] < 60


def test_processes_that_disagree_about_their_number_all_end(run_ranks):
    main, other = run_ranks(2, train_with, num_processes=2, own={"1": 3}, timeout=2.0)

    assert other.returned["said"].startswith("TrainingError: training.num_processes is 3")
    assert main.returned["said"].startswith("PeerLostError")
    assert not main.returned["changed"]
    assert not other.returned["changed"]


def train_in_a_group_that_is_too_small():
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    return train_with(None)


def test_a_group_that_was_joined_before_and_is_smaller_is_noticed(run_ranks):
    environment = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    (end,) = run_ranks(1, train_in_a_group_that_is_too_small, environment=environment)

    assert "TrainingError: 1 processes joined the training where the launcher started 2" in end.returned["said"]
    assert not end.returned["changed"]


class Refused(nn.Linear):
    def training_step(self, batch):
        if rank_of_this() == 1:
            raise RuntimeError("Connection refused: the data base of this user's own")
        return self(batch[0]).square().mean()


def train_refused():
    config = TrainingConfig(device="cpu", distributed=True, log_every=0)
    UniversalTrainer(config).fit(Refused(3, 1), (torch.ones(8, 3), torch.ones(8, 1)))


def test_an_error_of_the_users_own_is_never_taken_for_a_lost_process(run_ranks):
    main, other = run_ranks(2, train_refused, fails=True)

    assert (other.error, other.message) == ("RuntimeError", "Connection refused: the data base of this user's own")
    assert main.error == "PeerLostError"


class Dying(torch.autograd.Function):
    @staticmethod
    def forward(_, tensor):
        return tensor.clone()

    @staticmethod
    def backward(*_):
        os._exit(7)


class DiesIn(nn.Module):
    def __init__(self, where):
        super().__init__()
        self.where, self.calls = where, 0
        self.linear, self.norm = nn.Linear(3, 1), nn.BatchNorm1d(3)  # whose statistics each forward pass sends

    def training_step(self, batch):
        self.calls += 1
        dies = rank_of_this() == 1 and self.calls == 2
        if dies and self.where == "forward":
            os._exit(7)
        loss = self.linear(self.norm(batch[0])).square().mean()
        return Dying.apply(loss) if dies and self.where == "backward" else loss

    def validation_step(self, batch):
        if rank_of_this() == 1 and self.where == "validation":
            os._exit(7)
        return self.linear(self.norm(batch[0])).square().mean()


def train_and_die(where):
    config = TrainingConfig(device="cpu", distributed=True, log_every=0, timeout=600.0, batch_size=4)
    data = torch.randn(48, 3), torch.ones(48, 1)
    began = time.monotonic()
    try:
        UniversalTrainer(config).fit(DiesIn(where), data, data)
    except PeerLostError:
        return {"seconds": time.monotonic() - began}


@pytest.mark.parametrize("where", ["forward", "backward", "validation"])
def test_a_process_that_dies_while_training_is_noticed_at_once_by_all_others(run_ranks, where):
    first, lost, third = run_ranks(3, train_and_die, where=where, fails=True)

    assert lost.exit_code == 7
    for end in (first, third):
        assert end.exit_code == 0, end.log
        assert end.returned["seconds"] < 60, "long before the timeout of 600 s"
