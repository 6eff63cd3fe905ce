"""The reader of sources without files, whose rows are found by number."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Protocol

from connectors.formats.files import projected
from connectors.predicates import filtered, predicate_columns
from connectors.schema import dump_schema, load_schema
from connectors.splits import Discovery, Split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    import pyarrow.compute as pc

    from connectors.splits import SourceSpec

    Rows = Callable[[int, int], pa.Table]


class NumberedSource(Protocol):
    """A kind of source whose rows are found by number."""

    def discover(self, spec: SourceSpec, slots: int) -> tuple[Discovery, list[Split]]:
        """Say what the source holds, and cut it."""
        ...

    def rows(self, spec: SourceSpec) -> Rows:
        """Return what gives the rows from lo up to hi."""
        ...


class NumberedReader:
    """Reads splits that are ranges of row numbers."""

    def __init__(
        self,
        rows: Rows,
        discovery: Discovery,
        *,
        owner: str,
        columns: list[str] | None,
        predicate: pc.Expression | None,
    ) -> None:
        everything = load_schema(discovery.schema_ipc)
        self.schema = projected(everything, columns, owner)
        if predicate is not None:
            predicate_columns(predicate, everything, owner)
        self._rows = rows
        self._predicate = predicate
        self._row_bytes = max(1, discovery.size_bytes // max(1, discovery.rows or 1))
        self._everything = everything

    def batches(self, split: Split, batch_bytes: int) -> Iterator[pa.Table]:
        """Yield the rows lo..hi in tables of about `batch_bytes` at most."""
        assert batch_bytes > 0, batch_bytes
        step = max(1, batch_bytes // self._row_bytes)
        for lo in range(split.lo, split.hi, step):
            table = self._rows(lo, min(lo + step, split.hi))
            if self._predicate is not None:
                table = filtered(table, self._predicate)
            if table.num_rows:
                yield table if self.schema is self._everything else table.select(self.schema.names)

    def describe(self, split: Split) -> str:
        """Say which rows the split reads."""
        return f"rows {split.lo} to {split.hi}"


def numbered_discovery(
    name: str, schema: pa.Schema, rows: int, size_bytes: int, splits: int
) -> tuple[Discovery, list[Split]]:
    """Cut rows into splits whose sizes differ by one row at most; none of them is empty."""
    count = min(splits, rows)
    bounds = [rows * index // count for index in range(count + 1)] if count else []
    found = Discovery(
        format=name,
        schema_ipc=dump_schema(schema),
        rows=rows,
        size_bytes=size_bytes,
    )
    return found, [
        Split(rows=hi - lo, size_bytes=size_bytes * (hi - lo) // rows, lo=lo, hi=hi)
        for lo, hi in itertools.pairwise(bounds)
    ]
