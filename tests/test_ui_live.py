"""The terminal user interface follows a run that another process trains, through Redis and without it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import redis

from servers import free_port, redis_server

PROGRAM = """\
import sys, time
import numpy as np, torch
from kladml import ExperimentRunner

torch.set_num_threads(1)
tracker = sys.argv[1] if len(sys.argv) > 1 else None

class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(4, 1)

    def training_step(self, batch):
        time.sleep(0.05)
        return ((self(batch[0])[:, 0] - batch[1]) ** 2).mean()

X = np.ones((32, 4), dtype=np.float32)
training = {"max_epochs": 10_000, "batch_size": 8, "log_every": 1, "checkpoint": {"enabled": False}}
ExperimentRunner(tracker=tracker, storage=None).run(Net, (X, X.sum(1)), training=training)
"""


@contextmanager
def training(folder, url, *arguments):
    """Train in a process of its own, which never ends by itself."""
    (folder / ".kladml").mkdir()
    (folder / "kladml.yaml").write_text(f"publisher: {{use: redis, redis: {{url: '{url}'}}}}\n", encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("KLADML_")}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env={**inherited, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Player:
    """Presses keys and looks at the screen."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    def text(self):
        lines = [strip.text.rstrip() for strip in self.app.screen._compositor.render_strips()]
        return "\n".join([*lines, " ".join(" ".join(lines).split())])

    async def sees(self, *patterns):
        """Wait until all are on the screen; return what the groups of the last one are."""
        for _ in range(600):
            await self.pilot.pause(0.1)
            found = [re.search(pattern, self.text()) for pattern in patterns]
            if all(found):
                return found[-1].groups()
        pytest.fail(f"{patterns} are not on the screen:\n{self.text()}")


def play(folder, script):
    from kladml_cli.run_place import RunPlace
    from kladml_cli.ui.app import KladmlApp

    async def main():
        app = KladmlApp(RunPlace(workspace=folder))
        with app.logging_to_messages():
            async with app.run_test(size=(80, 24)) as pilot:
                player = Player(app, pilot)
                for _ in range(600):
                    await pilot.pause(0.1)
                    await pilot.press("r")
                    if "RUNNING" in player.text():
                        break
                await pilot.press("tab", "enter")
                await script(player)

    asyncio.run(main())


def test_run_is_heard_through_redis_alone_until_the_server_is_killed(tmp_path):
    with redis_server(tmp_path) as url, training(tmp_path, url) as process:

        async def script(player):
            await player.sees("RUNNING for .*, live from redis")
            (step,) = await player.sees(r"loss_step +\S+ +(\d+)")
            await player.sees(rf"loss_step +\S+ +(?!{step}\b)\d+")
            (epoch,) = await player.sees(r"loss +\S+ +(\d+)")
            await player.sees(rf"loss +\S+ +(?!{epoch}\b)\d+")
            redis.Redis.from_url(url).shutdown(nosave=True)
            await player.sees(
                "nothing can be received from the Redis server at .*; the tracker's records are followed instead"
            )
            assert "live from" not in player.text()
            process.send_signal(signal.SIGKILL)
            process.wait()
            await player.sees("default@1 LOST", f"its process {process.pid} is no more and recorded no end")

        play(tmp_path, script)


def test_tracker_is_followed_where_redis_is_away(tmp_path):
    with training(tmp_path, f"redis://127.0.0.1:{free_port()}/0", "local"):

        async def script(player):
            await player.sees("RUNNING", "publisher redis cannot be listened to.*records are followed instead")
            (epoch,) = await player.sees(r"loss +\S+ +(\d+)")
            await player.sees(rf"loss +\S+ +(?!{epoch}\b)\d+")
            assert "cannot be listened to" in player.text()

        play(tmp_path, script)
