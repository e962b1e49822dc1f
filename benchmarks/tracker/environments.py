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

HOME = Path(os.environ.get("BENCH_HOME") or Path.home() / ".cache" / "kladml-bench-tracker").absolute()
HERE = Path(__file__).parent
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
OURS = "kladml"
PEERS = {"mlflow": True, "peers": True, "aim": False}
"""The peers' environments; whether they are resolved under the repository's constraints."""

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
        constraints = ["-c", str(CONSTRAINTS)] if PEERS[name] else []
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(interpreter), "-m", "pip", "install", "--quiet", *constraints, "-r", str(requirements)])
        installed.write_bytes(requirements.read_bytes())
    return interpreter


def variables(name: str) -> dict[str, str]:
    """Return the environment variables of an environment; the source tree is no peer's business."""
    hidden = {"PYTHONDONTWRITEBYTECODE"}  # or modules would be compiled anew in each process
    if name != OURS:
        hidden.add("PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in hidden} | QUIET


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables(""))
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        problem = f"{' '.join(command)} failed: {''.join(last)}"
        raise InstallError(problem)


def main() -> None:
    for name in (OURS, *PEERS):
        print(name, python(name))


if __name__ == "__main__":
    main()
