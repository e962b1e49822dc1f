"""What a run found on its machine: interpreter, platform, device, and the installed distributions."""

from __future__ import annotations

import os
import platform
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kladml.config import TrainingConfig

_INSTALLED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._]*)-(?P<version>[^-]+)(-py[0-9.]+)?\.(dist|egg)-info")


def environment(config: TrainingConfig, *, uses_torch: bool) -> dict[str, Any]:
    """Return what the numbers of a run may depend on besides its code, data and configuration, JSON-able.

    Args:
        config: How the run trains.
        uses_torch: Whether torch computes, whose device and threads are then looked up; it is imported for that.
    """
    found: dict[str, Any] = {"python": platform.python_version(), "platform": platform.platform()}
    if uses_torch:
        from kladml.training.device_name import device_name, thread_count

        found |= {"device": device_name(config), "threads": thread_count()}
    else:
        found["device"] = "cpu"
    return {**found, "distributions": distributions(sys.path)}


def distributions(folders: Iterable[str]) -> dict[str, str]:
    """Return name and version of each installed distribution, sorted.

    The names of the folders say both. To read the metadata in them would take a second where much is installed.
    """
    found: dict[str, str] = {}
    for folder in folders:
        try:
            names = os.listdir(folder or ".")  # noqa: PTH208 - names are all that is needed, of thousands
        except OSError:  # such as a zip file, or a folder that is gone
            continue
        for name in names:
            match = _INSTALLED.fullmatch(name)
            if match is not None:
                found.setdefault(match["name"].replace("_", "-").lower(), match["version"])
    return dict(sorted(found.items()))
