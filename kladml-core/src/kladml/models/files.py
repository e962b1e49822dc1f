"""Where models are kept on the disk."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def with_ending(path: str, ending: str) -> Path:
    """Return a path with an ending; a dot in its name, as in `resnet-0.5`, begins no ending of its own."""
    return Path(path if path.endswith(ending) else path + ending)


@contextlib.contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """Give a path beside a file to write to, which takes the file's place when nothing failed."""
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
