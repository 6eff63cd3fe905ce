"""The first version of a Delta table, written here and not by delta-rs.

delta-rs creates a table in two steps, look and then commit, and moves a commit that lost the
race on to the next version: of six publishers that create one table, two got their rows in.
Version 0 is one object, so exclusive create decides, and the losers look again.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from deltalake.transaction import AddAction

FIRST_VERSION_KEY: Final = "_delta_log/00000000000000000000.json"
# Times without a zone are a feature that readers must know; without it, the oldest will do.
_NTZ: Final = "timestampNtz"
_PLAIN_PROTOCOL: Final = {"minReaderVersion": 1, "minWriterVersion": 2}
_NTZ_PROTOCOL: Final = {
    "minReaderVersion": 3,
    "minWriterVersion": 7,
    "readerFeatures": [_NTZ],
    "writerFeatures": [_NTZ],
}


def first_version(
    schema: pa.Schema,
    partition_by: Iterable[str],
    actions: Iterable[AddAction],
    *,
    app_id: str,
    generation: int,
    at_ms: int,
) -> bytes:
    """Return the log's first object: the table and its first files in one transaction.

    Source: the Delta transaction protocol, "Actions".
    """
    from deltalake import Schema  # noqa: PLC0415 - 60 ms, for those who write Delta only

    schema_json = Schema.from_arrow(schema).to_json()
    has_ntz = '"timestamp_ntz"' in schema_json
    # Told apart by its publisher: the same one writes the same bytes again.
    table_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{app_id}/{generation}/{at_ms}")
    lines: list[dict[str, Any]] = [
        {"commitInfo": {"timestamp": at_ms, "operation": "WRITE", "engineInfo": "rayorch"}},
        {"protocol": _NTZ_PROTOCOL if has_ntz else _PLAIN_PROTOCOL},
        {
            "metaData": {
                "id": str(table_id),
                "format": {"provider": "parquet", "options": {}},
                "schemaString": schema_json,
                "partitionColumns": list(partition_by),
                "configuration": {},
                "createdTime": at_ms,
            }
        },
        {"txn": {"appId": app_id, "version": generation, "lastUpdated": at_ms}},
        *({"add": _add(action)} for action in actions),
    ]
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _add(action: AddAction) -> dict[str, Any]:
    return {
        "path": action.path,
        "partitionValues": dict(action.partition_values),
        "size": action.size,
        "modificationTime": action.modification_time,
        "dataChange": True,
        "stats": action.stats,
    }
