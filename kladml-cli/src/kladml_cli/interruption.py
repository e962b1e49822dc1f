"""What is said when Ctrl-C ends a command in the middle of its work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def if_interrupted(what: str) -> Iterator[None]:
    """Let an interrupt in the block say what has become of the work, and how it goes on.

    Args:
        what: A clause that is true at any moment of the block.

    Raises:
        KeyboardInterrupt: The user interrupted it.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(what) from error
