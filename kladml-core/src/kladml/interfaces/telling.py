"""Moving files to and from a storage that tells how far it is, if it can."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kladml.interfaces.storage import StorageInterface

_TELL = "tell"


def upload_telling(
    storage: StorageInterface, local_path: Path, bucket: str, key: str, tell: Callable[[int], object]
) -> str:
    """Store a local file as `upload_file` does, and return its URI.

    Args:
        storage: The storage. If its `upload_file` takes `tell` as well, it is told there; else all is at the end.
        local_path: The file to store.
        bucket: Where to keep it.
        key: Its name in the bucket.
        tell: Is told each number of bytes that went, also by other threads, and less than 0 where a part has to be
            sent again. What it raises ends the transfer.

    Raises:
        StorageError: The file cannot be read or stored.
    """
    if _can_tell(storage.upload_file):
        return cast("Any", storage).upload_file(local_path, bucket, key, tell=tell)  # type: ignore[no-any-return]
    size = local_path.stat().st_size if local_path.is_file() else 0  # if it is none, the storage says so
    uri = storage.upload_file(local_path, bucket, key)
    tell(size)
    return uri


def download_telling(
    storage: StorageInterface, bucket: str, key: str, local_path: Path, tell: Callable[[int], object]
) -> str:
    """Copy a stored file to a local path as `download_file` does, and return that path.

    Args:
        storage: The storage, as for `upload_telling`.
        bucket: Where the file is kept.
        key: Its name in the bucket.
        local_path: Where to put it.
        tell: Is told each number of bytes that came, as by `upload_telling`.

    Raises:
        ObjectNotFoundError: There is no such key or bucket.
        StorageError: The file cannot be read or written.
    """
    if _can_tell(storage.download_file):
        return cast("Any", storage).download_file(bucket, key, local_path, tell=tell)  # type: ignore[no-any-return]
    path = storage.download_file(bucket, key, local_path)
    tell(local_path.stat().st_size)
    return path


def _can_tell(method: Callable[..., object]) -> bool:
    return _TELL in inspect.signature(method).parameters
