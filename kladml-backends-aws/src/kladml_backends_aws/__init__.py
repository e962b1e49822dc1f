"""KladML's S3 storage, for Amazon S3 and the object stores that speak its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kladml_backends_aws.storage import S3Storage

__all__ = ["S3Storage"]


def __getattr__(name: str) -> Any:
    if name == "S3Storage":
        # boto3 is imported when the class is needed, not with the package.
        from kladml_backends_aws.storage import S3Storage

        return S3Storage
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
