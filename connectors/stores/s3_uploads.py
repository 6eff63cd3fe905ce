"""Uploads to S3 that nobody will complete: found and ended, so that nobody pays for their parts.

A writer that dies in the middle of an upload leaves its parts; no reader, and no list of objects,
ever sees them. obstore cannot list uploads, so botocore does it: it takes half a second to import
and start, and nothing waits for it.
"""

from collections.abc import Mapping
from typing import Any, Final

from connectors.errors import (
    BadUrlError,
    ConnectorError,
    MissingExtraError,
    StoreDeniedError,
    StoreFaultError,
    StoreUnavailableError,
)
from connectors.stores.aws_keys import AwsKeys
from connectors.stores.patience import Patience

DENIED: Final = frozenset({"AccessDenied", "AllAccessDisabled", "NotImplemented"})
"""Answers of a server where only its own lifecycle rules reach uploads."""
_GONE: Final = "NoSuchUpload"
_TRIES: Final = 4
_NAMES: Final[Mapping[str, str]] = {
    "aws_access_key_id": "aws_access_key_id",
    "aws_secret_access_key": "aws_secret_access_key",
    "aws_session_token": "aws_session_token",
    "aws_token": "aws_session_token",
    "aws_region": "region_name",
    "region": "region_name",
    "aws_default_region": "region_name",
    "aws_endpoint_url_s3": "endpoint_url",
}
"""How botocore calls what the options call by the names of the environment; the last one counts."""


def abort_uploads(
    client: Any,  # noqa: ANN401 - botocore has no types.
    url: str,
    bucket: str,
    prefix: str,
    before_s: float,
) -> int:
    """End the uploads of keys with a prefix that began before a time; return how many.

    Returns 0 where the keys, or the server, do not allow to list them or to end them.
    Raises: StoreUnavailableError, StoreFaultError, StoreDeniedError, BadUrlError.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as in `open_client`.

    ended = 0
    try:
        pages = client.get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for upload in page.get("Uploads", ()):
                # Servers of others have been seen to take a prefix for a hint.
                if not upload["Key"].startswith(prefix):
                    continue
                if upload["Initiated"].timestamp() < before_s:
                    ended += _abort(client, bucket, upload)
    except ClientError as error:
        if error.response["Error"]["Code"] in DENIED:
            return ended
        raise _answered(error, url) from error
    except BotoCoreError as error:
        raise StoreUnavailableError(url, prefix, str(error)) from error
    return ended


def open_client(config: Mapping[str, str], keys: AwsKeys | None, patience: Patience) -> Any:  # noqa: ANN401
    """Open botocore's client on the server that obstore's settings name. Raises: ConnectorError."""
    # A third of a second to import, for the end of a run.
    try:
        from botocore import UNSIGNED  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415
        from botocore.session import Session  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("unfinished uploads to S3", "botocore", "s3") from error
    settings: dict[str, str] = {
        theirs: config[ours] for ours, theirs in _NAMES.items() if config.get(ours)
    }
    if keys is not None:
        found = keys.current()
        settings["aws_access_key_id"] = found.access_key
        settings["aws_secret_access_key"] = found.secret_key
        if found.token:
            settings["aws_session_token"] = found.token
    options: dict[str, Any] = {
        "connect_timeout": patience.timeout_s,
        "read_timeout": patience.timeout_s,
        "retries": {"total_max_attempts": _TRIES, "mode": "standard"},
    }
    if settings.get("endpoint_url"):
        options["s3"] = {"addressing_style": "path"}  # As obstore does, and most servers want.
    if config.get("aws_skip_signature", "").lower() in {"1", "true"}:
        options["signature_version"] = UNSIGNED
    return Session().create_client("s3", config=Config(**options), **settings)


def _abort(client: Any, bucket: str, upload: Mapping[str, Any]) -> int:  # noqa: ANN401
    from botocore.exceptions import ClientError  # noqa: PLC0415 - as in `open_client`.

    try:
        client.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    except ClientError as error:
        if error.response["Error"]["Code"] == _GONE:
            return 0  # Completed, or ended by somebody else, since it was listed.
        raise
    return 1


def _answered(error: Any, url: str) -> ConnectorError:  # noqa: ANN401
    code = str(error.response["Error"]["Code"])
    status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return BadUrlError(url, "there is no such bucket")
    reason = f"{code}, {error.response['Error'].get('Message', '')}"
    if status in {401, 403}:
        return StoreDeniedError(url, "", reason)
    if status in {408, 409, 429} or status >= 500 or not status:  # noqa: PLR2004 - of HTTP.
        return StoreUnavailableError(url, "", reason)
    return StoreFaultError(url, "", reason)
