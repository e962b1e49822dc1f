"""Processes that are killed while they save: the newest checkpoint always loads."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap

import pytest

log = logging.getLogger(__name__)
KILLS = 1000 if os.environ.get("KLADML_RELIABILITY") == "1" else 25

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked, so that torch is imported once")

COMMON = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from kladml.training.checkpointing import store as checkpoints
from kladml.training.checkpointing.store import Checkpoint, CheckpointStore

def content(number):
    tensor = torch.full((5000,), float(number))
    return Checkpoint({"weight": tensor}, {"0.momentum": tensor}, {"number": number})

def number_of(path):
    found = checkpoints.load(path)
    number = found.state["number"]
    assert torch.equal(found.model["weight"], content(number).model["weight"])
    assert torch.equal(found.optimizer["0.momentum"], content(number).model["weight"])
    return number

def run(body):
    '''Run a function in a child of its own and return its process id.'''
    child = os.fork()
    if child == 0:
        try:
            body()
        finally:
            os._exit(1)
    return child
"""


def run(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", COMMON + textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=3600 if KILLS > 100 else 300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_latest_loads_after_every_one_of_many_kills(tmp_path):
    """A child saves back to back, up to ten times a step; the parent kills it at a time that nobody chose."""
    found = run(
        """
        store, latest, parent = CheckpointStore(Path(sys.argv[1]), keep_last=1), [], os.getpid()

        def save_back_to_back():
            for number in range(latest[-1] + 1 if latest else 0, 10**6):
                store.save(content(number), number // 10, is_best=number % 3 == 0)
                os.write(tell, b".")
                if os.getppid() != parent:
                    break

        for _ in range(12):
            saved, tell = os.pipe()
            child = run(save_back_to_back)
            os.close(tell)
            for _ in range(random.randint(1, 10)):
                os.read(saved, 1)
            time.sleep(random.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            latest.append(number_of(store.latest()))
            assert number_of(store.best()) == latest[-1] // 3 * 3
        print(json.dumps(latest))
        """,
        tmp_path,
    )

    assert len(found) == 12
    assert found == sorted(set(found))


def test_at_most_the_save_that_was_under_way_is_lost_in_many_kills_while_saves_overlap_the_training(tmp_path):
    """`KLADML_RELIABILITY=1` kills a thousand times; `--log-cli-level=INFO` shows the figures.

    The child changes its tensors in place between saves that a thread writes; the parent kills it at a time that
    nobody chose. A save returns once the one before it is complete, so that at most its own content is lost.
    """
    kills = run(
        """
        folder, kills, parent = Path(sys.argv[1]), int(sys.argv[2]), os.getpid()
        weight, momentum = torch.empty(5000), torch.empty(5000)

        def train(begin):
            store = CheckpointStore(folder, keep_last=2)
            for number in range(begin, 10**9):
                weight.fill_(number), momentum.fill_(number)
                content = Checkpoint({"weight": weight}, {"0.momentum": momentum}, {"number": number}, [b"%d" % number])
                store.save_later(content, number // 3, is_best=number % 5 == 0)
                os.write(tell, b".")
                weight.fill_(-1), momentum.fill_(-1)
                if os.getppid() != parent:
                    break

        latest, lost, cut = -1, [], 0
        for _ in range(kills):
            saved, tell = os.pipe()
            begin = latest + 1
            child = run(lambda: train(begin))
            os.close(tell)
            returned = sum(len(os.read(saved, 1)) for _ in range(random.randint(2, 5)))
            time.sleep(random.uniform(0, 0.015))
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            while rest := os.read(saved, 1000):
                returned += len(rest)
            os.close(saved)
            cut += any(folder.glob(".tmp-*"))
            store = CheckpointStore(folder)
            latest = number_of(store.latest())
            assert checkpoints.load(store.latest()).ranks == [b"%d" % latest]
            assert number_of(store.best()) == latest // 5 * 5
            lost.append(begin + returned - 1 - latest)
        print(json.dumps({"lost": lost, "cut": cut, "saves": latest + 1}))
        """,
        tmp_path,
        KILLS,
    )

    log.info("%d kills in %d saves, %d while files were being written", KILLS, kills["saves"], kills["cut"])
    assert len(kills["lost"]) == KILLS
    assert max(kills["lost"]) <= 1
    assert kills["cut"] > 0, "no kill came while a checkpoint was being written"


@pytest.mark.parametrize("steps", [(1, 2), (1, 1)], ids=["another step", "the same step"])
@pytest.mark.parametrize("keep_last", [1, 2])
def test_a_kill_before_any_single_call_leaves_the_old_or_the_new_checkpoint(tmp_path, steps, keep_last):
    """The child kills itself before the n-th call that Python audits (open, rename, remove, …), for every n."""
    outcomes = run(
        """
        root, first, second, keep_last = Path(sys.argv[1]), *map(int, sys.argv[2:])
        outcomes, calls, ended = [], 0, False
        while not ended:
            calls += 1
            store = CheckpointStore(root / str(calls), keep_last=keep_last)
            store.save(content(0), first, is_best=True)

            def save():
                left = calls
                def count(event, arguments):
                    nonlocal left
                    if event == "open" or event.startswith(("os.", "shutil.")):
                        left -= 1
                        if left == 0:
                            os.kill(os.getpid(), signal.SIGKILL)
                sys.addaudithook(count)
                store.save(content(1), second, is_best=True)
                os._exit(0)

            ended = os.waitpid(run(save), 0)[1] == 0
            outcomes.append((number_of(store.latest()), number_of(store.best())))
            store.save(content(2), 3)
            assert number_of(store.latest()) == 2
            assert not list(store.folder.glob(".tmp-*"))
        print(json.dumps(outcomes))
        """,
        tmp_path,
        *steps,
        keep_last,
    )

    assert len(outcomes) > 10
    assert [tuple(outcome) for outcome in outcomes] == sorted(tuple(outcome) for outcome in outcomes)
    assert tuple(outcomes[0]) == (0, 0)
    assert tuple(outcomes[-1]) == (1, 1)
