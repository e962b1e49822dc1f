"""Files in S3 buckets."""

from __future__ import annotations

import os
import secrets
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from kladml.errors import StorageError
from kladml.interfaces import StorageInterface
from kladml_backends_aws.errors import OWNER, S3_ERRORS, is_absent, storage_error
from kladml_backends_aws.settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST_LINK = 7 * 24 * 3600
"""Seconds that a presigned URL lasts at most; a limit of signature version 4."""
_RULE = "leave out empty parts, '.', '..' and a leading '/'"


class S3Storage(StorageInterface):
    """Keeps files in Amazon S3 or in a server that speaks its protocol.

    ```python
    storage = S3Storage("my-bucket", prefix="team/vision")
    storage.upload_file("model.safetensors", "my-bucket", "runs/3/model.safetensors")
    ```

    Nothing is sent before the first call. A server that is down is an error within seconds: connections time
    out after 3 s, and a call is tried three times. Credentials come from boto3's own chain.

    Args:
        bucket: Bucket for a run's files when the configuration names none; it must exist.
        prefix: Start of every key, in every bucket; the keys that callers give and get do not have it.
        endpoint_url: Address of an S3-compatible server; Amazon S3 if None.
        region: Region of the bucket; AWS's own settings if None.
        profile: Profile of AWS's shared configuration that has the credentials.

    Raises:
        StorageError: The profile does not exist, or the prefix or the endpoint is malformed.
    """

    api_version = 1
    settings_class: ClassVar[type[Any]] = S3Settings
    capabilities = frozenset({"delete", "presign"})

    def __init__(
        self,
        bucket: str | None = None,
        prefix: str = "",
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
    ) -> None:
        self.bucket = bucket
        self.prefix = _checked_prefix(prefix)
        self._endpoint_url = _checked_endpoint(endpoint_url)
        # Only a default until the client knows which server its configuration leads to.
        self._endpoint = self._endpoint_url or "Amazon S3"
        with self._clear_errors("prepare the storage s3"):
            self._session = boto3.Session(profile_name=profile, region_name=region)
            self._client = self._new_client(read_timeout=30, attempts=3)
        self._endpoint = self._client.meta.endpoint_url
        self._transfer = TransferConfig(num_download_attempts=3)

    def upload_file(
        self, local_path: str | Path, bucket: str, key: str, tell: Callable[[int], object] | None = None
    ) -> str:
        """Store a local file, in parts if it is large; S3 shows the object only when it is complete.

        Args:
            local_path: The file to store.
            bucket: An existing bucket.
            key: Its name in the bucket, below the storage's prefix.
            tell: Is told each number of bytes that went, by several threads; less than 0 for those that go again.

        Returns:
            The URI of the object, `s3://bucket/prefix/key`.

        Raises:
            ObjectNotFoundError: There is no such bucket.
            StorageError: The file cannot be read or stored.
        """
        name = self._name(key)
        with self._clear_errors(f"upload {local_path} as '{name}' to bucket '{bucket}'"):
            self._client.upload_file(str(local_path), bucket, name, Config=self._transfer, Callback=tell)
        return f"s3://{bucket}/{name}"

    def download_file(
        self, bucket: str, key: str, local_path: str | Path, tell: Callable[[int], object] | None = None
    ) -> str:
        """Copy an object to a local path; on an error the path is as it was before.

        Args:
            bucket: Where the object is.
            key: Its name in the bucket, below the storage's prefix.
            local_path: Where to put it; missing parent folders are made.
            tell: Is told each number of bytes that came, as by `upload_file`.

        Returns:
            The local path.

        Raises:
            ObjectNotFoundError: There is no such key or bucket.
            StorageError: The object cannot be read, or the file cannot be written.
        """
        name = self._name(key)
        target = Path(local_path)
        # In the target's folder, so that the last step is a rename.
        part = target.parent / f".kladml-{secrets.token_hex(8)}.part"
        with self._clear_errors(f"download '{name}' from bucket '{bucket}' to {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._client.download_file(bucket, name, str(part), Config=self._transfer, Callback=tell)
                with part.open("rb+") as file:
                    os.fsync(file.fileno())
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return str(local_path)

    def list_files(self, bucket: str, prefix: str = "") -> list[str]:
        """List all keys that start with a prefix, from every page of the listing.

        Args:
            bucket: Where to look.
            prefix: How the keys start, as text; empty for all below the storage's prefix.

        Returns:
            The keys in ascending order; an empty list when nothing matches.

        Raises:
            ObjectNotFoundError: There is no such bucket.
            StorageError: The bucket cannot be listed.
        """
        # Amazon S3 sorts; its directory buckets and some other servers do not.
        return sorted(self.iter_files(bucket, prefix))

    def iter_files(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """Yield the keys that start with a prefix, in the server's order, one page of 1,000 at a time.

        Keys that end with `/` are left out: they are the markers with which consoles show empty folders.
        """
        start = self.prefix + prefix
        with self._clear_errors(f"list '{start}' in bucket '{bucket}'"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=start):
                for item in page.get("Contents", ()):
                    if not item["Key"].endswith("/"):
                        yield item["Key"][len(self.prefix) :]

    def exists(self, bucket: str, key: str) -> bool:
        """Tell whether a key exists; nothing exists in a bucket that does not."""
        name = self._name(key)
        with self._clear_errors(f"look for '{name}' in bucket '{bucket}'"):
            try:
                self._client.head_object(Bucket=bucket, Key=name)
            except ClientError as error:
                if is_absent(error):
                    return False
                raise
        return True

    def delete_file(self, bucket: str, key: str) -> None:
        """Delete a key; deleting an absent one is harmless."""
        name = self._name(key)
        with self._clear_errors(f"delete '{name}' from bucket '{bucket}'"):
            self._client.delete_object(Bucket=bucket, Key=name)

    def presigned_url(self, bucket: str, key: str, expires_in: int = 3600) -> str:
        """Return a URL that opens the object without credentials. It is a secret: whoever has it can read.

        Args:
            bucket: Where the object is.
            key: Its name in the bucket, below the storage's prefix.
            expires_in: How long the URL lasts, in seconds: 1 to 604,800 (a week).

        Returns:
            The URL. Nothing is sent to make it, so it does not prove that the object exists.

        Raises:
            StorageError: The time is out of range, or there are no credentials to sign with.
        """
        name = self._name(key)
        if not 1 <= expires_in <= _LONGEST_LINK:
            problem = f"a link cannot last {expires_in} s"
            raise StorageError(problem, owner=OWNER, next_step=f"choose 1 to {_LONGEST_LINK} s")
        with self._clear_errors(f"make a link to '{name}' in bucket '{bucket}'"):
            url: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": name}, ExpiresIn=expires_in
            )
        return url

    def check(self) -> None:
        """Prove that the bucket exists and that the credentials open it, within about ten seconds.

        Raises:
            ObjectNotFoundError: There is no such bucket.
            StorageError: Access is denied, there are no credentials, or the server cannot be reached.
        """
        bucket = self.default_bucket
        with (
            self._clear_errors(f"use bucket '{bucket}'"),
            closing(self._new_client(read_timeout=4, attempts=2)) as client,
        ):
            client.head_bucket(Bucket=bucket)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _new_client(self, *, read_timeout: float, attempts: int) -> Any:
        config = Config(
            connect_timeout=3,
            read_timeout=read_timeout,
            retries={"mode": "standard", "total_max_attempts": attempts},
            # Without it, links are signed the old way, which newer regions refuse.
            signature_version="s3v4",
        )
        return self._session.client("s3", endpoint_url=self._endpoint_url, config=config)

    def _name(self, key: str) -> str:
        """Return the object's name for a key, if it is a relative POSIX path."""
        if not _is_relative_path(key):
            problem = f"{key!r} is no key: a key is a relative path with '/' between its parts"
            raise StorageError(problem, owner=OWNER, next_step=_RULE)
        return self.prefix + key

    @contextmanager
    def _clear_errors(self, what: str) -> Iterator[None]:
        """Raise KladML's errors instead of those of boto3 and of the operating system."""
        try:
            yield
        except S3_ERRORS as error:
            raise storage_error(error, what, self._endpoint) from error
        except (OSError, ValueError) as error:
            problem = f"cannot {what}: {error}"
            raise StorageError(problem, owner=OWNER) from error


def _is_relative_path(key: str) -> bool:
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        return False
    # A file name that is no text on this machine has surrogates, which UTF-8 does not.
    return not any("\ud800" <= character <= "\udfff" for character in key)


def _checked_prefix(prefix: str) -> str:
    """Return the prefix with one `/` at its end, or nothing for no prefix."""
    stripped = prefix.removesuffix("/")
    if stripped and not _is_relative_path(stripped):
        problem = f"storage.s3.prefix {prefix!r} is no relative path"
        raise StorageError(problem, owner=OWNER, next_step=_RULE)
    return f"{stripped}/" if stripped else ""


def _checked_endpoint(endpoint_url: str | None) -> str | None:
    if endpoint_url is not None and "@" in urlsplit(endpoint_url).netloc:
        problem = "storage.s3.endpoint_url has a user or password in it"
        raise StorageError(
            problem,
            owner=OWNER,
            next_step="take it out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead",
        )
    return endpoint_url
