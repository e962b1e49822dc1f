"""The CPU time until `kladml ui` has painted, on a workspace with 10,000 runs in 200 experiments.

    python benchmarks/ui.py [REPEATS]

The workspace is that of `benchmarks/runs.py`. Each measurement is a process of its own on a pseudo-terminal of 80
columns and 24 lines, which ends by itself once the tree and the first runs are on the screen, and says how much CPU
time it took until then: all of it, imports included. What an interpreter takes that imports click and nothing else is
subtracted. The exit status is 1 if the runs take more than half a second.
"""

from __future__ import annotations

import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from fcntl import ioctl
from pathlib import Path

from runs import BUDGET, cpu_seconds, environment, fill

PROGRAM = """\
import json, resource, sys

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

from kladml_cli.main import main
found = {}

def painted(name):
    found.setdefault(name, cpu())

def watched():
    from kladml_cli.ui.app import KladmlApp
    from kladml_cli.ui.runs_screen import RunsScreen
    mount, show = RunsScreen.on_mount, RunsScreen._show_first

    def on_mount(self):
        mount(self)
        self.call_after_refresh(painted, "frame")

    def show_first(self, result):
        show(self, result)
        self.call_after_refresh(lambda: (painted("runs"), self.app.exit()))

    RunsScreen.on_mount, RunsScreen._show_first = on_mount, show_first

import kladml_cli.commands.ui as command
start = command.start
command.start = lambda place: (watched(), start(place))
status = main(["ui"])
open(sys.argv[1], "w").write(json.dumps({"status": status, **found}))
"""


def main() -> int:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        fill(workspace)
        bare = [sys.executable, "-c", "import click"]
        cpu_seconds(bare, workspace)
        below = statistics.median(cpu_seconds(bare, workspace) for _ in range(2 * repeats))
        print(f"{'python -c import click':<36} {1000 * below:6.0f} ms CPU, subtracted below")
        measure(workspace)  # once for the caches of bytecode and files
        taken = [measure(workspace) for _ in range(repeats)]
    middle = 0.0
    for name, text in (("frame", "ui, frame painted"), ("runs", "ui, tree and runs painted")):
        times = [each[name] - below for each in taken]
        middle = statistics.median(times)
        print(f"{text:<36} {1000 * middle:6.0f} ms CPU (median of {repeats}, least {1000 * min(times):.0f})")
    print(f"{'budget':<36} {1000 * BUDGET:6.0f} ms CPU")
    return int(middle > BUDGET)


def measure(workspace: Path) -> dict[str, float]:
    """Start the application on a pseudo-terminal; return the CPU seconds until it had painted."""
    result = workspace / "painted.json"
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(result)],
        stdin=slave,
        stdout=slave,
        stderr=subprocess.DEVNULL,
        cwd=workspace,
        env={**environment(workspace), "TERM": "xterm-256color"},
    )
    os.close(slave)
    threading.Thread(target=drain, args=(master,), daemon=True).start()
    process.wait(120)
    found: dict[str, float] = json.loads(result.read_text())
    assert found["status"] == 0
    return found


def drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # the other end is closed
        pass


if __name__ == "__main__":
    raise SystemExit(main())
