"""The settings of the S3 storage."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Settings of the storage `s3`.

    Credentials are no settings: boto3 finds them in its own chain (environment, shared files, SSO, the role
    of the machine).
    """

    bucket: str = field(metadata={"doc": "Bucket that keeps the files of a run; it must exist."})
    prefix: str = field(
        default="", metadata={"doc": "Start of every key, such as team/vision, for a bucket that is shared."}
    )
    endpoint_url: str | None = field(
        default=None, metadata={"doc": "Address of an S3-compatible server; Amazon S3 if not given."}
    )
    region: str | None = field(
        default=None,
        metadata={"doc": "Region of the bucket, such as eu-central-1; AWS's default if not given."},
    )
    profile: str | None = field(
        default=None, metadata={"doc": "Profile of AWS's shared configuration that has the credentials."}
    )
