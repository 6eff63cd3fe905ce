"""A file appears whole or not at all, in memory of a bounded size."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from connectors.store import open_store
from rayorch.exchange import ExchangeWriter, KeyRefusedError, codec_for, load_part
from rayorch.exchange.parts import dump_part, packed, unpacked
from rayorch.relational import HashKeys, RangeKeys, SortKey, Spread
from tests.rayorch.exchange.rows import odd_table


def test_an_aborted_file_is_not_there(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    table = odd_table(1, 500)
    writer = ExchangeWriter(store, "part", table.schema, HashKeys(("int",)), memory_bytes=1)
    writer.add(table)

    writer.abort()

    assert list(store.list()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_nothing_is_there_before_the_end_and_no_row_is_a_file_too(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    writer = ExchangeWriter(store, "part", odd_table(1, 1).schema, Spread())

    assert store.head("part") is None
    part = writer.close()

    assert (part.rows, part.raw_bytes, part.segments, part.size_bytes) == (0, 0, (), 64)
    assert store.get("part").startswith(b"RAYXCH01")
    assert load_part(dump_part(part)) == part


def test_what_fills_the_memory_becomes_a_segment(tmp_path: Path) -> None:
    """One table of many times the memory too; a sixth of it is what is held."""
    store = open_store(str(tmp_path))
    table = pa.table({"k": np.arange(400_000), "v": np.zeros(400_000)})
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    pool_max = 0

    writer = ExchangeWriter(store, "part", table.schema, HashKeys(("k",)), memory_bytes=1 << 20)
    for _ in range(3):
        writer.add(table)
        pool_max = max(pool_max, pa.total_allocated_bytes() - before)
    part = writer.close()

    assert len(part.segments) == pytest.approx(3 * table.nbytes * 6 / (1 << 20), rel=0.1)
    assert max(segment.rows for segment in part.segments) * 16 <= (1 << 20) // 6
    assert pool_max <= 1 << 20
    assert sum(segment.rows for segment in part.segments) == part.rows == 1_200_000


@pytest.mark.parametrize("keying", [HashKeys(("nested",)), RangeKeys((SortKey(column="nested"),))])
def test_a_nested_key_is_refused_before_any_row(
    keying: HashKeys | RangeKeys, tmp_path: Path
) -> None:
    with pytest.raises(KeyRefusedError, match="column=nested"):
        ExchangeWriter(open_store(str(tmp_path)), "part", odd_table(1, 1).schema, keying)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("top", [0, 255, 256, 1 << 16, 1 << 40])
def test_counts_are_packed_whole(top: int) -> None:
    counts = np.array([0, 1, top, 3], dtype=np.int64)

    assert unpacked(packed(counts)).tolist() == counts.tolist()
    assert unpacked(packed([])).tolist() == []


def test_files_of_this_machine_are_not_compressed(tmp_path: Path) -> None:
    assert codec_for(open_store(str(tmp_path))) == "none"
    assert codec_for(open_store("memory://x")) == "none"
    assert codec_for(open_store("s3://bucket/x")) == "lz4"
