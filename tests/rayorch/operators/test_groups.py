"""A group function sees each group once, whole and in order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rayorch.relational import GroupMapCode, SortKey
from tests.rayorch.operators.oracle import cut, kernel, result, rows_of


def summary(table: pa.Table) -> pa.Table:
    ids = table["id"].to_pylist()
    assert ids == sorted(ids)
    key = table["f"][:1] if len(ids) else pa.array([], pa.float64())
    return pa.table({"f": key, "rows": pa.array([len(ids)] * min(len(ids), 1), pa.int64())})


@pytest.mark.parametrize("rows", [0, 1, 70_000])
def test_each_group_comes_once_and_whole(rows: int, tmp_path: Path) -> None:
    """Null and NaN are a group each, the two zeros are one; groups span engine batches."""
    random = np.random.default_rng(0)
    floats = random.choice([1.5, -0.0, 0.0, np.nan], rows)
    keys = pa.array(floats, pa.float64(), mask=random.random(rows) < 0.1)
    table = pa.table({"f": keys, "id": np.arange(rows)})
    code = GroupMapCode(by=("f",), function=summary, order=(SortKey(column="id"),))

    opened = kernel(code, table.schema, spill=tmp_path)
    found = result(opened, cut(table, random))

    counts = {row[0]: 0 for row in rows_of(table.select(["f"]))}
    for row in rows_of(table.select(["f"])):
        counts[row[0]] += 1
    assert {row[0]: int(row[1]) for row in rows_of(found)} == counts
    assert found.num_rows == len(counts)
    assert not list(tmp_path.iterdir())


def test_what_the_function_raises_comes_through(tmp_path: Path) -> None:
    def broken(table: pa.Table) -> pa.Table:
        raise KeyError("mine")

    table = pa.table({"k": [1, 2]})
    code = GroupMapCode(by=("k",), function=broken, schema=table.schema)

    with pytest.raises(KeyError, match="mine"):
        result(kernel(code, table.schema, spill=tmp_path), [table])
    assert not list(tmp_path.iterdir())
