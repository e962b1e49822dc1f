"""Workspaces with runs that were never trained, and the application without a terminal."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from kladml.interfaces import ExperimentAddress
from kladml.runner.record import RunRecord
from kladml_backends_local import LocalTracker
from kladml_backends_local.catalog import SqlCatalog
from kladml_cli.run_place import RunPlace

BACKENDS = {"storage": "local", "tracker": "local", "publisher": "console", "catalog": "sql"}
SCREENS = Path(__file__).parent / "screens"


class Bench:
    """Records runs as a training does, without one."""

    def __init__(self, root):
        self.state = root / ".kladml"
        self.catalog = SqlCatalog(self.state / "catalog.db")
        self.trackers = []

    def tracker(self):
        tracker = LocalTracker(self.state / "mlflow.db")
        self.trackers.append(tracker)
        return tracker

    def begin(self, experiment="default/default/digits", lr=0.1):
        tracker = self.tracker()
        run_id = tracker.start_run(experiment)
        address = self.catalog.add_run(ExperimentAddress.parse(experiment), run_id, BACKENDS)
        params = {"training.optimizer.lr": lr, "experiment": experiment}
        record = RunRecord(str(address), run_id, backends=BACKENDS, params=params, tags={"kladml.code_version": "abc1"})
        record.write(self.state / "runs" / address.path)
        return address, tracker

    def run(self, experiment="default/default/digits", lr=0.1, status="FINISHED", error=None):
        address, tracker = self.begin(experiment, lr)
        for epoch in range(1, 6):
            tracker.log_metrics({"loss": lr / epoch, "val_loss": 2 * lr / epoch, "lr": lr}, epoch)
        tracker.end_run(status)
        metrics = {"loss": lr / 5, "val_loss": 2 * lr / 5}
        self.catalog.end_run(address, status, metrics)
        folder = self.state / "runs" / address.path
        record = RunRecord.read(folder)
        record.status, record.error, record.metrics = status, error, metrics
        record.write(folder)
        return address

    def date(self):
        """Let all runs have begun at one time, and taken a bit more than a minute."""
        with closing(sqlite3.connect(self.state / "catalog.db")) as connection, connection:
            began, ended = "2026-01-02 03:04:05.000000", "2026-01-02 03:05:15.000000"
            connection.execute("UPDATE kladml_runs SET started_at = ?, ended_at = ?", (began, ended))

    def close(self):
        self.catalog.close()
        for tracker in self.trackers:
            tracker.close()


@pytest.fixture
def bench(workspace):
    bench = Bench(workspace)
    yield bench
    bench.close()


class Player:
    """Presses keys and looks at the screen."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    async def press(self, *keys):
        for key in keys:
            await self.pilot.press(key)
            await self.pilot.pause()

    def text(self):
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def sees(self, *texts):
        """Wait until all texts are on the screen."""
        for _ in range(300):
            await self.pilot.pause(0.05)
            seen = f"{self.text()}\n{' '.join(self.text().split())}"  # a sentence may go on in the next line
            if all(text in seen for text in texts):
                return
        pytest.fail(f"{texts} are not on the screen:\n{self.text()}")

    async def misses(self, text):
        for _ in range(300):
            await self.pilot.pause(0.05)
            if text not in self.text():
                return
        pytest.fail(f"{text} is still on the screen:\n{self.text()}")

    def looks_like(self, name):
        """Compare the screen with the one that somebody looked at."""
        file, text = SCREENS / f"{name}.txt", f"{self.text()}\n"
        if os.environ.get("UPDATE_SCREENS"):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        assert text == file.read_text(encoding="utf-8")


@pytest.fixture
def play():
    """Play a script on the application, on a terminal of 80 columns and 24 lines."""
    from kladml_cli.ui.app import KladmlApp

    def run(script, size=(80, 24), place=None):
        async def main():
            app = KladmlApp(place or RunPlace())
            with app.logging_to_messages():
                async with app.run_test(size=size, notifications=True) as pilot:
                    await script(Player(app, pilot))

        asyncio.run(main())

    return run


@pytest.fixture
def fixed_times(monkeypatch):
    for module in ("runs_table", "data_screen"):
        monkeypatch.setattr(f"kladml_cli.ui.{module}.moment", lambda _: "01-02 03:04")
    monkeypatch.setenv("TZ", "UTC")
    if hasattr(time, "tzset"):
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()
    else:
        yield
