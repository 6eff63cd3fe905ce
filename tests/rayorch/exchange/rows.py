"""Rows for exchanges: every kind of key, skews, odd values, and comparison by multiset."""

import math
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pyarrow as pa

from connectors.store import Store
from rayorch.exchange import (
    Apart,
    ExchangeIndex,
    ExchangePart,
    ExchangePlan,
    ExchangeWriter,
    PlanLimits,
    dump_part,
    dump_split,
    load_part,
    load_split,
    open_side,
    plan_exchange,
)
from rayorch.exchange.splits import ReduceSplit
from rayorch.exchange.writer import Codec
from rayorch.relational import OperatorCode, keying_of

_NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)

KINDS: Final[dict[str, tuple[pa.DataType, list[Any]]]] = {
    "int": (pa.int64(), [None, 0, -1, 1, 7, 2**62, -(2**63)]),
    "small": (pa.uint8(), [None, 0, 1, 255]),
    "float": (pa.float64(), [None, 0.0, -0.0, math.nan, math.inf, -math.inf, 1.5, -2.5]),
    "text": (pa.string(), [None, "", "a", "a\0", "b" * 9, "b" * 300, "ü", "abcdefgh"]),
    "bytes": (pa.binary(), [None, b"", b"\0", b"\0\0", b"\xff" * 20]),
    "bool": (pa.bool_(), [None, True, False]),
    "date": (pa.date32(), [None, date(1969, 1, 1), date(2026, 11, 22)]),
    "time": (pa.timestamp("us", "Europe/Berlin"), [None, _NOON, _NOON - timedelta(days=40_000)]),
    "decimal": (pa.decimal128(20, 2), [None, Decimal("0.00"), Decimal("-3.50"), Decimal("9e15")]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), [None, "x", "y", ""]),
}


def odd_table(seed: int, rows: int) -> pa.Table:
    """Rows with a column of each kind, a nested payload and a number that tells them apart."""
    source = random.Random(seed)
    columns: dict[str, pa.Array] = {
        name: pa.array(source.choices(values, k=rows), type_)
        for name, (type_, values) in KINDS.items()
    }
    columns["id"] = pa.array(range(seed * 1_000_000, seed * 1_000_000 + rows), pa.int64())
    nested = [[{"n": source.random(), "t": None}] * source.randrange(3) for _ in range(rows)]
    fields = pa.struct([("n", pa.float64()), ("t", pa.dictionary(pa.int32(), pa.string()))])
    columns["nested"] = pa.array(nested, pa.list_(fields))
    return pa.table(columns)


def written(  # noqa: PLR0913 - what is written, and how.
    store: Store,
    code: OperatorCode,
    sides: Sequence[Sequence[pa.Table]],
    *,
    buckets: int = 16,
    memory_bytes: int = 1 << 20,
    codec: Codec = "none",
    apart: Apart | None = None,
) -> list[list[ExchangePart]]:
    """Write each table as a part of its side."""
    parts: list[list[ExchangePart]] = []
    for side, tables in enumerate(sides):
        parts.append([])
        for number, table in enumerate(tables):
            writer = ExchangeWriter(
                store,
                f"exchange/{side}/{number}",
                table.schema,
                keying_of(code, side),
                buckets=buckets,
                memory_bytes=memory_bytes,
                codec=codec,
                apart=apart,
            )
            for start in range(0, table.num_rows, 1000):
                writer.add(table.slice(start, 1000))
            parts[side].append(load_part(dump_part(writer.close())))
    return parts


def planned(
    code: OperatorCode, parts: Sequence[Sequence[ExchangePart]], tasks: int
) -> ExchangePlan:
    """Plan an exchange into about so many tasks."""
    total = sum(part.raw_bytes for side in parts for part in side)
    limits = PlanLimits(slots=1, target_bytes=max(total // tasks, 1))
    return plan_exchange(code, parts, limits)


def read_back(
    store: Store, index: ExchangeIndex, split: ReduceSplit, side: int = 0
) -> pa.Table | None:
    """Return all that a task takes of a side; None when that is no row."""
    split = load_split(dump_split(split))
    tables = list(open_side(store, index, split, side))
    return pa.concat_tables(tables, promote_options="default") if tables else None


def ids(table: pa.Table | None) -> list[int]:
    """Return the rows' numbers, as they stand."""
    return [] if table is None else table.column("id").to_pylist()


def bag(tables: Sequence[pa.Table]) -> Counter[str]:
    """Return how often each row occurs, NaN and the sign of zero told apart."""
    return Counter(str(sorted(row.items())) for table in tables for row in table.to_pylist())
