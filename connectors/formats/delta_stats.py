"""A Delta file's statistics, from the footer that was just written."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# What Delta itself indexes by default.
COLUMNS_MAX: Final = 32
# Long texts bound nothing that is worth their place in the log.
TEXT_MAX: Final = 64
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def delta_stats(footer: pq.FileMetaData, schema: pa.Schema) -> str:
    """Return numRecords, and minValues, maxValues and nullCount of the first columns, as JSON.

    Nested columns are counted but left out: a reader then does not skip by them.
    """
    flat = set(schema.names)
    lows: dict[str, Any] = {}
    highs: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for index in range(min(footer.num_columns, COLUMNS_MAX)):
        path = footer.schema.column(index).path
        if path in flat:
            low, high, null_count = _column(footer, index)
            if null_count is not None:
                nulls[path] = null_count
            if low is not None and high is not None:
                lows[path], highs[path] = low, high
    stats = {
        "numRecords": footer.num_rows,
        "minValues": lows,
        "maxValues": highs,
        "nullCount": nulls,
    }
    return _ENCODER.encode(stats).decode()


def _column(footer: pq.FileMetaData, index: int) -> tuple[Any, Any, int | None]:
    """Return a column's least and greatest value over all row groups, and its nulls."""
    lows: list[Any] = []
    highs: list[Any] = []
    null_count = 0
    for group in range(footer.num_row_groups):
        statistics = footer.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_null_count:
            return None, None, None
        null_count += statistics.null_count
        if not statistics.has_min_max:
            # A group of nulls only has no bounds, and needs none.
            if statistics.num_values:
                lows.append(None)
            continue
        try:
            lows.append(_plain(statistics.min))
            highs.append(_plain(statistics.max))
        except (OverflowError, ValueError):
            # Years that Python's dates do not reach.
            lows.append(None)
    if not lows or None in lows or None in highs:
        return None, None, null_count
    return _text(min(lows)), _text(max(highs)), null_count


def _plain(value: Any) -> Any:  # noqa: ANN401 - a Parquet statistic is of any type
    """Return a value that JSON and Delta can hold, or None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and len(value) > TEXT_MAX:
        return None
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return value if isinstance(value, bool | int | float | str | Decimal | date) else None


def _text(value: Any) -> Any:  # noqa: ANN401 - as above
    if isinstance(value, datetime):
        zone = "Z" if value.tzinfo is not None else ""
        return value.replace(tzinfo=None).isoformat(timespec="microseconds") + zone
    return value.isoformat() if isinstance(value, date) else value
