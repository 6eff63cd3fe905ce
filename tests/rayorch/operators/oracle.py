"""What kernels are compared with: one DuckDB query over whole tables, and rows in one order."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from rayorch.operators import Kernel, open_kernel
from rayorch.relational import OperatorCode

MEMORY_BYTES = 256 << 20


def kernel(code: OperatorCode, *schemas: pa.Schema, spill: Path, **more: Any) -> Kernel:
    return open_kernel(code, schemas, memory_bytes=MEMORY_BYTES, spill_dir=str(spill), **more)


def result(opened: Kernel, *sides: Sequence[pa.Table]) -> pa.Table:
    found = opened.run([partial(iter, tables) for tables in sides])
    return pa.concat_tables([opened.schema.empty_table(), *found])


def cut(table: pa.Table, random: np.random.Generator) -> list[pa.Table]:
    """Return the rows in random pieces, some of them empty."""
    ends = np.sort(random.integers(0, table.num_rows + 1, 4)).tolist()
    starts = [0, *ends]
    return [table.slice(a, b - a) for a, b in zip(starts, [*ends, table.num_rows], strict=True)]


def wanted(sql: str, **tables: pa.Table) -> pa.Table:
    with duckdb.connect(config={"threads": "1"}) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


def rows_of(table: pa.Table, digits: int = 9) -> list[tuple[str, ...]]:
    """Return the rows as text in one order; -0.0 is 0.0, floats are rounded."""
    lists = [[_text(value, digits) for value in column.to_pylist()] for column in table.columns]
    return sorted(zip(*lists, strict=True))


def _text(value: object, digits: int) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return f"{value + 0.0:.{digits}g}" if isinstance(value, float) else repr(value)
