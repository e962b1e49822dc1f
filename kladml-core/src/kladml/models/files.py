"""Where models are kept on the disk."""

from __future__ import annotations

from pathlib import Path


def with_ending(path: str, ending: str) -> Path:
    """Return a path with an ending; a dot in its name, as in `resnet-0.5`, begins no ending of its own."""
    return Path(path if path.endswith(ending) else path + ending)
