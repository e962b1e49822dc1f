"""What a run was made from: code, configuration, data, seed, versions; the same tags on every tracker."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import threading
from typing import TYPE_CHECKING

import kladml
from kladml.runner.fingerprints import NO_FINGERPRINT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kladml.config import ResolvedConfig
    from kladml.interfaces import ExperimentAddress, RunAddress

CONFIG_FILE = "kladml.config_file"
"""Tag of the file that a run was configured by: relative to the workspace where it lies in it."""

DIRTY = "+dirty"
"""What follows a revision where tracked files were changed."""

UNKNOWN = "unknown"
"""The revision of what is in no repository."""

_GIT_SECONDS = 5.0
_MOST_DIFF_BYTES = 1 << 20
_NEVER_SHOWN = ("**/.env*", "**/*.pem", "**/*.key", "**/*secret*", "**/*credential*", "**/id_rsa*", "**/id_ed25519*")


def tags(
    address: RunAddress,
    config: ResolvedConfig,
    selected: Iterable[str],
    *,
    data_fingerprint: str | None,
    val_fingerprint: str,
    code: Path,
) -> dict[str, str]:
    """Return the tags of a run.

    Args:
        address: Where the run stands.
        config: Its configuration.
        selected: Its backends and its configuration source, as people read them.
        data_fingerprint: Fingerprint of the training data, or None where it cannot be had.
        val_fingerprint: That of the validation data, or what stands in its place.
        code: A folder of the user's code, whose Git revision is noted.
    """
    text = json.dumps(config.as_dict(), sort_keys=True, default=str)
    return {
        "kladml.address": str(address),
        "kladml.project": address.experiment.project,
        "kladml.family": address.experiment.family,
        "kladml.version": kladml.__version__,
        "kladml.python": platform.python_version(),
        "kladml.code_version": code_version(code),
        "kladml.config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "kladml.data_fingerprint": data_fingerprint or NO_FINGERPRINT,
        "kladml.val_fingerprint": val_fingerprint,
        "kladml.seed": str(config.run.training.seed),
        "kladml.plugins": ", ".join(selected),
    }


def config_file_tag(file: Path, root: Path) -> str:
    """Return what `CONFIG_FILE` says of a file.

    Args:
        file: The file.
        root: The workspace's root.
    """
    path = file.resolve()
    return path.relative_to(root.resolve()).as_posix() if path.is_relative_to(root.resolve()) else path.as_posix()


def experiment_tags(experiment: ExperimentAddress) -> dict[str, str]:
    """Return the tags of an experiment, which show where it stands on a tracker that has no hierarchy."""
    return {
        "kladml.project": experiment.project,
        "kladml.family": experiment.family,
        "kladml.experiment": experiment.experiment,
    }


def code_version(folder: Path) -> str:
    """Return the Git revision of a folder, with `+dirty` when tracked files were changed, or `unknown`."""
    revision = _git(folder, "rev-parse", "HEAD")
    if revision is None:
        return UNKNOWN
    return f"{revision}{DIRTY}" if _git(folder, "status", "--porcelain", "--untracked-files=no") else revision


def code_diff(folder: Path) -> bytes | None:
    """Return what was changed in the tracked files of a folder's repository, or None.

    Files whose names say that they hold secrets are left out, and so is what is beyond a mebibyte. Files that Git does
    not track are not in it; `runner.code_files` looks at those that a run names.
    """
    excluded = [f":(exclude,top,glob){pattern}" for pattern in _NEVER_SHOWN]
    options = ("--no-color", "--no-ext-diff", "--no-textconv")
    command = ["git", "-C", str(folder), "diff", *options, "HEAD", "--", ":/", *excluded]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:  # noqa: S603
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            timer = threading.Timer(_GIT_SECONDS, process.kill)
            timer.start()
            try:
                text = process.stdout.read(_MOST_DIFF_BYTES + 1)
            finally:
                timer.cancel()
                process.kill()
    except OSError:
        return None
    if len(text) > _MOST_DIFF_BYTES:
        text = text[:_MOST_DIFF_BYTES] + b"\n... cut off here, after a mebibyte\n"
    return text or None


def is_tracked(file: Path) -> bool:
    """Tell whether Git tracks a file."""
    return _git(file.parent, "ls-files", "--error-unmatch", "--", f":(literal){file.name}") is not None


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
