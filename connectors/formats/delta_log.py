"""Read a Delta table's log: which files it is made of, and what their columns are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from connectors.data_errors import CorruptFileError, NoFilesError, OptionError
from connectors.listing import FoundFile
from connectors.schema import plain_schema
from connectors.stores.aws_keys import PROFILE, asked_of_aws, keys_for, server_of
from connectors.stores.servers import S3_SCHEMES, is_unencrypted, with_endpoint
from connectors.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deltalake import DeltaTable

DELTA_LOG: Final = "_delta_log/"
# Features that change what the files' rows or columns mean; ignoring one reads wrong data.
_UNREAD_FEATURES: Final = ("deletionVectors", "columnMapping")
_UNKEPT_NAMES: Final = re.compile(r"[\[\]^|\\\x00-\x1f]|%[0-9A-Fa-f]{2}")
_HTTP: Final = frozenset({"allow_http", "aws_allow_http"})
_OUR_OPTIONS: Final = ("durable", "timeout_s", "deadline_s", PROFILE)


class DeltaContent(msgspec.Struct, frozen=True):
    """The content of one version of a table."""

    version: int
    schema: pa.Schema
    files: tuple[FoundFile, ...]


def table_uri(url: str) -> str:
    """Return how delta-rs names the table. Raises: OptionError, where it cannot."""
    location = parse_url(url)
    if location.scheme == "memory":
        raise OptionError(url, "format", "delta", "Delta tables cannot be kept in memory://")
    if location.scheme != "file":
        return location.url
    # delta-rs takes a path literally and a file URL percent-decoded; where it is given one of
    # these, one half of it does the one and the other half the other, or it panics.
    found = _UNKEPT_NAMES.search(location.path)
    if found is not None:
        reason = f"Delta's library cannot keep a table under a name with {found[0]!r}"
        raise OptionError(url, "url", location.path, f"{reason}; choose another place or format")
    return location.path


def table_options(url: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return the store's options as delta-rs takes them, with the keys of now.

    Raises: StoreDeniedError, when a profile of AWS has no keys.
    """
    scheme = parse_url(url).scheme
    ours = {name: value for name, value in options.items() if name not in _OUR_OPTIONS}
    known = {**_said_by_profile(url, options), **with_endpoint(scheme, ours)}
    if is_unencrypted(scheme, known) and not known.keys() & _HTTP:
        known["allow_http"] = "true"
    return known


def _said_by_profile(url: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return keys and server, for a table that is opened and let go within seconds."""
    keys = keys_for(options) if parse_url(url).scheme in S3_SCHEMES else None
    if keys is None:
        return {}
    with asked_of_aws(url):
        now = keys.current()
        said = {"aws_access_key_id": now.access_key, "aws_secret_access_key": now.secret_key}
        if now.token:
            said["aws_session_token"] = now.token
        return {**server_of(keys, options), **said}


def open_table(url: str, options: Mapping[str, str]) -> DeltaTable | None:
    """Open the newest version of a table, or return None where there is none.

    Raises: CorruptFileError, for a log that cannot be read.
    """
    # 60 ms to import, for those who read or write Delta only.
    from deltalake import DeltaTable  # noqa: PLC0415
    from deltalake.exceptions import DeltaError, TableNotFoundError  # noqa: PLC0415

    try:
        return DeltaTable(table_uri(url), storage_options=table_options(url, options))
    except TableNotFoundError:
        return None
    except DeltaError as error:
        raise CorruptFileError(url, "Delta table", str(error)) from error


def delta_content(url: str, options: Mapping[str, str], root: int) -> DeltaContent:
    """Return what a table is made of.

    Raises: NoFilesError, when there is no table; OptionError, when it uses what is not read.
    """
    table = open_table(url, options)
    if table is None:
        raise NoFilesError(url, "there is no Delta table")
    features = table.protocol().reader_features or []
    unread = [name for name in features if name in _UNREAD_FEATURES]
    if unread:
        raise OptionError(url, "format", "delta", f"the table uses {' and '.join(unread)}")
    schema = plain_schema(pa.schema(table.schema().to_arrow()))
    return DeltaContent(table.version(), schema, _files(table, root))


def _files(table: DeltaTable, root: int) -> tuple[FoundFile, ...]:
    actions = pa.table(table.get_add_actions(flatten=True))
    names = table.metadata().partition_columns
    columns = [actions.column(f"partition.{name}").cast(pa.string()).to_pylist() for name in names]
    rows = zip(*columns, strict=True) if columns else [()] * actions.num_rows
    files = [
        # The log's path is percent-encoded. Files never change once they are in the log, so their
        # size is version enough.
        FoundFile(root, unquote(path), size_bytes, "", dict(zip(names, values, strict=True)))
        for path, size_bytes, values in zip(
            actions.column("path").to_pylist(),
            actions.column("size_bytes").to_pylist(),
            rows,
            strict=True,
        )
    ]
    return tuple(sorted(files, key=lambda file: file.key))
