"""The CPU time of `kladml --help` beside that of a bare click program's `--help`.

    python benchmarks/startup.py [RUNS]

Both programs run in turn, so that a busy machine slows both; the medians of user plus system time are
compared. The exit status is 1 if `kladml` takes more than 1.5 times as long.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGET = 1.5

BARE = '''\
import click

@click.command()
def hello():
    """Say hello."""
    click.echo("hello")

if __name__ == "__main__":
    hello()
'''


def cpu_seconds(command: list[str]) -> float:
    """Run a command and return its user and system time in seconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        message = f"{' '.join(command)} failed with the exit status {process.returncode}"
        raise SystemExit(message)
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "bare.py")
        program.write_text(BARE, encoding="utf-8")
        bare = [sys.executable, str(program), "--help"]
        kladml = [str(Path(sys.executable).with_name("kladml")), "--help"]
        times: dict[str, list[float]] = {"bare click": [], "kladml": []}
        for command in (bare, kladml):  # once for the caches of bytecode and files
            cpu_seconds(command)
        for _ in range(runs):
            times["bare click"].append(cpu_seconds(bare))
            times["kladml"].append(cpu_seconds(kladml))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, values in times.items():
        print(
            f"{name + ' --help':<18} {1000 * medians[name]:6.1f} ms CPU (median of {runs}, "
            f"least {1000 * min(values):.1f})"
        )
    ratio = medians["kladml"] / medians["bare click"]
    print(f"{'ratio':<18} {ratio:6.2f}    (budget {BUDGET})")
    return int(ratio > BUDGET)


if __name__ == "__main__":
    sys.exit(main())
