"""The environments that contestants run in.

    python environments.py

The peers get virtual environments under the folder of the environment variable BENCH_HOME, made at the first use and
again when their requirements change. `kladml` is the environment that runs these programs, with the repository's
distributions in it.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HOME = Path(os.environ.get("BENCH_HOME") or Path.home() / ".cache" / "kladml-bench-tracker").absolute()
HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
OURS = "kladml"
PEERS = ["mlflow", "peers", "aim"]
"""The peers' environments."""

CONSTRAINED = {"mlflow"}
"""Those that are resolved under the repository's constraints: what MLflow needs is then what KladML's MLflow needs."""

LONGEST_REASON = 150

QUIET = {
    "AIM_UI_TELEMETRY_ENABLED": "0",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}
"""Variables with which nobody reaches for the network."""


class InstallError(Exception):
    """An environment cannot be made here."""


@functools.cache
def python(name: str) -> Path:
    """Return the interpreter of an environment, which is made if it is absent.

    Raises:
        InstallError: It cannot be made.
    """
    if name == OURS:
        return Path(sys.executable)
    folder = HOME / "environments" / name
    requirements = HERE / f"requirements-{name}.txt"
    installed = folder / requirements.name
    interpreter = folder / "bin" / "python"
    if not installed.exists() or installed.read_bytes() != requirements.read_bytes():
        print(f"installing {requirements.name} into {folder}", file=sys.stderr)
        folder.parent.mkdir(parents=True, exist_ok=True)
        constraints = ["-c", str(CONSTRAINTS)] if name in CONSTRAINED else []
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *constraints, "-r", str(requirements)])
        installed.write_bytes(requirements.read_bytes())
    return interpreter


def install(names: Iterable[str]) -> dict[str, str]:
    """Make environments, and return for each that cannot be made the reason."""
    reasons = {}
    for name in names:
        try:
            python(name)
        except InstallError as error:
            reasons[name] = str(error)
    return reasons


def variables(name: str) -> dict[str, str]:
    """Return the environment variables of an environment; the source tree is no peer's business."""
    hidden = {"PYTHONDONTWRITEBYTECODE"}  # or modules would be compiled anew in each process
    if name != OURS:
        hidden.add("PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in hidden} | QUIET


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables(""))
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if line.startswith("ERROR:")), (lines or ["no reason given"])[-1])
        problem = f"{' '.join(command[1:])} failed: {reason[:LONGEST_REASON]}"
        raise InstallError(problem)


def main() -> None:
    reasons = install([OURS, *PEERS])
    for name in (OURS, *PEERS):
        print(name, reasons.get(name) or python(name))


if __name__ == "__main__":
    main()
