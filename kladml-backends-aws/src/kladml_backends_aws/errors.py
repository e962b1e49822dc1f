"""What went wrong at S3, said as KladML's errors."""

from __future__ import annotations

from boto3.exceptions import Boto3Error, RetriesExceededError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own, which is no OSError
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)

from kladml.errors import ObjectNotFoundError, StorageError

OWNER = "kladml-backends-aws"

S3_ERRORS = (Boto3Error, BotoCoreError, ClientError)
"""Everything that boto3 raises for a call that failed."""

_ABSENT = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound"})
_DENIED = frozenset({"401", "403", "AccessDenied", "AllAccessDisabled", "Forbidden", "MethodNotAllowed"})
_BAD_CREDENTIALS = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)
_ELSEWHERE = frozenset({"301", "307", "IllegalLocationConstraintException", "PermanentRedirect"})
_NO_CREDENTIALS = (
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)


def is_absent(error: ClientError) -> bool:
    """Tell whether the server answered that the key or the bucket does not exist."""
    return _code(error) in _ABSENT


def storage_error(error: Exception, what: str, endpoint: str) -> StorageError:
    """Return the storage error for an error of boto3.

    Args:
        error: One of `S3_ERRORS`.
        what: What was to be done, naming bucket and key.
        endpoint: The server that was asked.

    Returns:
        An error to raise from `error`.
    """
    cause = _cause(error)
    if isinstance(cause, ClientError):
        return _refusal(cause, what, endpoint)
    if isinstance(cause, _NO_CREDENTIALS):
        return StorageError(
            f"cannot {what}: there are no usable AWS credentials: {_text(cause)}",
            owner=OWNER,
            next_step="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or set storage.s3.profile",
        )
    if isinstance(cause, ConnectionError | HTTPClientError):
        return StorageError(
            f"cannot {what}: {_unreachable(cause, endpoint)}",
            owner=OWNER,
            next_step="check the network and storage.s3.endpoint_url",
        )
    if isinstance(cause, FlexibleChecksumError):
        step = "repeat it; if this comes again, what is stored there is damaged: delete it and store it anew"
        return StorageError(f"cannot {what}: it arrives damaged: {_text(cause)}", owner=OWNER, next_step=step)
    if isinstance(cause, IncompleteReadError | RetriesExceededError):
        return StorageError(f"cannot {what}: {endpoint} broke off: {_text(cause)}", owner=OWNER, next_step="try again")
    return StorageError(f"cannot {what}: {_text(cause)}", owner=OWNER)


def _cause(error: Exception) -> Exception:
    """Look into the errors that boto3's transfers wrap around the one that says why."""
    if isinstance(error, Boto3Error) and isinstance(error.__context__, ClientError):
        return error.__context__
    return error


def _refusal(error: ClientError, what: str, endpoint: str) -> StorageError:
    """Return the storage error for an answer of the server."""
    code = _code(error)
    if code in _ABSENT:
        return ObjectNotFoundError(
            f"cannot {what}: there is no such {_absent_thing(error)} at {endpoint}",
            owner=OWNER,
            next_step="check the names, storage.s3.bucket and storage.s3.endpoint_url",
        )
    if code in _DENIED:
        return StorageError(
            f"cannot {what}: {endpoint} denies access ({code})",
            owner=OWNER,
            next_step="check the credentials in use (`aws sts get-caller-identity`) and the bucket's policy",
        )
    if code in _BAD_CREDENTIALS:
        return StorageError(
            f"cannot {what}: {endpoint} does not accept the credentials ({code})",
            owner=OWNER,
            next_step="renew them, or choose others with AWS_PROFILE or storage.s3.profile",
        )
    if code in _ELSEWHERE:
        return StorageError(
            f"cannot {what}: the bucket is in another region ({code})",
            owner=OWNER,
            next_step="set storage.s3.region",
        )
    message = error.response.get("Error", {}).get("Message") or "no reason given"
    return StorageError(f"cannot {what}: {endpoint} answers {code}: {message}", owner=OWNER)


def _unreachable(error: Exception, endpoint: str) -> str:
    if isinstance(error, ConnectTimeoutError | EndpointConnectionError):
        return f"{endpoint} cannot be reached"
    if isinstance(error, ReadTimeoutError):
        return f"{endpoint} does not answer in time"
    return f"the connection to {endpoint} failed: {_text(error)}"


def _absent_thing(error: ClientError) -> str:
    # The answer to a HEAD request has no body that would say what is absent.
    if _code(error) == "NoSuchBucket" or error.operation_name == "HeadBucket":
        return "bucket"
    return "key" if _code(error) == "NoSuchKey" else "key or bucket"


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
