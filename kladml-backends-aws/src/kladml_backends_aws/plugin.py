"""The plugin `s3` of kind storage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kladml.plugins import hookimpl

if TYPE_CHECKING:
    from kladml.interfaces import StorageInterface


@hookimpl
def kladml_register_storage() -> type[StorageInterface]:
    """Return the S3 storage."""
    from kladml_backends_aws.storage import S3Storage

    return S3Storage
