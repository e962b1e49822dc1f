"""The storage interface: files in buckets, under keys."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from kladml.interfaces.backend import Backend
from kladml.interfaces.folders import files_by_key, paths_by_key, start_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class StorageInterface(Backend):
    """Keeps files: a run's weights, its configuration, its checkpoints.

    A complete storage, and the hook that offers it under a name:

    ```python
    import boto3
    from kladml import StorageInterface

    class S3Storage(StorageInterface):
        def __init__(self, bucket_name):
            self.bucket_name = bucket_name
            self.client = boto3.client("s3")

        def upload_file(self, local_path, bucket, key):
            self.client.upload_file(str(local_path), bucket, key)
            return f"s3://{bucket}/{key}"

        def download_file(self, bucket, key, local_path):
            self.client.download_file(bucket, key, str(local_path))
            return str(local_path)

        def list_files(self, bucket, prefix=""):
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            return [item["Key"] for page in pages for item in page.get("Contents", ())]
    ```
    ```python
    from kladml.plugins import hookimpl

    @hookimpl
    def kladml_register_storage():
        from my_package.storage import S3Storage
        return S3Storage
    ```

    Keys are relative POSIX paths (`runs/3/model.safetensors`): no empty part, no `..`, no leading `/`.
    Capabilities: `delete` (`delete_file`), `presign` (`presigned_url`).
    """

    @abstractmethod
    def upload_file(self, local_path: str | Path, bucket: str, key: str) -> str:
        """Store a local file, replacing what was there; a reader never sees half of it.

        Args:
            local_path: The file to store.
            bucket: Where to keep it.
            key: Its name in the bucket.

        Returns:
            The URI of the stored file, such as `s3://bucket/key`.

        Raises:
            StorageError: The file cannot be read or stored.
        """

    @abstractmethod
    def download_file(self, bucket: str, key: str, local_path: str | Path) -> str:
        """Copy a stored file to a local path; on an error nothing is left there.

        Args:
            bucket: Where the file is kept.
            key: Its name in the bucket.
            local_path: Where to put it; missing parent folders are made.

        Returns:
            The local path.

        Raises:
            ObjectNotFoundError: There is no such key or bucket.
            StorageError: The file cannot be read or written.
        """

    @abstractmethod
    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """List all keys that start with a prefix, however many there are.

        Args:
            bucket: Where to look.
            prefix: How the keys start, as text (`runs/1` also matches `runs/10`); empty for all.

        Returns:
            The keys in ascending order; an empty list when nothing matches.
        """

    @property
    def default_bucket(self) -> str:
        """The bucket for a run's files when the configuration names none.

        The default takes the instance's own `bucket_name` or `bucket`, if it has one, else `kladml`.
        """
        for attribute in ("bucket_name", "bucket"):
            bucket = getattr(self, attribute, None)
            if isinstance(bucket, str) and bucket:
                return bucket
        return "kladml"

    def iter_files(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with a prefix, in ascending order."""
        yield from self.list_files(bucket, prefix)

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether a key exists."""
        return any(found == key for found in self.iter_files(bucket, key))

    def upload_directory(self, local_dir: str | Path, bucket: str, prefix: str) -> list[str]:
        """Store every file below a folder under a prefix and return their URIs, in the order of their keys.

        Raises:
            StorageError: There is no such folder, or a file cannot be read or stored.
        """
        return [self.upload_file(path, bucket, key) for key, path in files_by_key(local_dir, prefix).items()]

    def download_directory(self, bucket: str, prefix: str, local_dir: str | Path) -> list[str]:
        """Copy every file under a prefix into a folder and return the local paths, in the order of their keys.

        Raises:
            StorageError: A key would leave the folder; nothing is copied then.
        """
        paths = paths_by_key(self.iter_files(bucket, start_of(prefix)), prefix, local_dir)
        return [self.download_file(bucket, key, path) for key, path in paths.items()]

    def delete_file(self, bucket: str, key: str) -> None:
        """Delete a key; deleting an absent one is harmless. Capability `delete`."""
        raise self._lacks("delete", f"delete '{bucket}/{key}'")

    def presigned_url(self, bucket: str, key: str, expires_in: int = 3600) -> str:
        """Return a URL that opens the file without credentials for `expires_in` seconds. Capability `presign`."""
        raise self._lacks("presign", f"make a link to '{bucket}/{key}' that lasts {expires_in} s")
