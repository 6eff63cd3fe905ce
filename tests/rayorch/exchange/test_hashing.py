"""The hash is the same everywhere and for ever; layouts of one value agree."""

import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from rayorch.exchange import KeyRefusedError, bucket_ids
from rayorch.exchange.hashing import key_hashes
from rayorch.relational import HashKeys
from tests.rayorch.exchange.rows import KINDS, odd_table

_NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

GOLDEN: list[tuple[Any, pa.DataType, int]] = [
    (None, pa.null(), 0xBCF45BFD5EE2FE05),
    (None, pa.int64(), 0xBCF45BFD5EE2FE05),
    (0, pa.int64(), 0x9FC41CCF9CDCB564),
    (-1, pa.int8(), 0xD3A3DBF31BAAF768),
    (2**63, pa.uint64(), 0xF01765BA478EBCAE),
    (True, pa.bool_(), 0xB9C478BD16205566),
    (1.5, pa.float16(), 0xE850BC907C3DCB44),
    (-0.0, pa.float64(), 0x9FC41CCF9CDCB564),
    (math.nan, pa.float32(), 0x6945E3637EC98B26),
    (date(2026, 11, 22), pa.date32(), 0x14B093A62CC06E5B),
    (date(1960, 1, 1), pa.date64(), 0x005B14B83C1973F0),
    (time(12, 30, 1), pa.time32("ms"), 0xFA2CCC67F32F1884),
    (_NOON, pa.timestamp("us", "Europe/Berlin"), 0xA25EE66B989FBD5C),
    (1_700_000_000_123_456_789, pa.timestamp("ns"), 0xC122B8236569E53D),
    (timedelta(seconds=5), pa.duration("ms"), 0x583DA5800000E300),
    (Decimal("-12.34"), pa.decimal128(10, 2), 0x8CCB75B8BC77B653),
    (Decimal("1e40"), pa.decimal256(60, 0), 0xCF901C43DB265F2A),
    ("", pa.string(), 0x9FC41CCF9CDCB564),
    ("key", pa.large_string(), 0xE7AF46940DA80E90),
    ("größer als acht", pa.string_view(), 0x048A987CA9B3AC87),
    ("z" * 300, pa.string(), 0xCF8C73D1394689B6),
    (b"\0\1", pa.binary(), 0xF2EBEC3B645E22BF),
    (b"abcd", pa.binary(4), 0xC828BB2050FC0C8D),
    ("x", pa.dictionary(pa.int32(), pa.string()), 0xFC9DBFAC1877F00D),
]


def _hash(value: Any, type_: pa.DataType) -> int:
    return int(key_hashes(pa.table({"k": pa.array([value], type_)}), ["k"])[0])


@pytest.mark.parametrize(("value", "type_", "expected"), GOLDEN, ids=str)
def test_a_hash_is_what_it_always_was(value: Any, type_: pa.DataType, expected: int) -> None:
    """Tasks of two versions share an exchange: a change here is a change of the format."""
    assert f"{_hash(value, type_):016x}" == f"{expected:016x}"


def test_hashes_do_not_depend_on_the_process() -> None:
    code = (
        "import pyarrow as pa\n"
        "from rayorch.exchange.hashing import key_hashes\n"
        "from tests.rayorch.exchange.rows import KINDS, odd_table\n"
        "print(key_hashes(odd_table(3, 500), list(KINDS)).tobytes().hex())\n"
    )
    expected = key_hashes(odd_table(3, 500), list(KINDS)).tobytes().hex()
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert found.stdout.strip() == expected


@pytest.mark.parametrize(
    ("values", "one", "other"),
    [
        ([1, None, -3, 127], pa.int64(), pa.int8()),
        ([0, 7, 200], pa.uint64(), pa.int32()),
        ([0, 1, None], pa.int16(), pa.uint8()),
        ([0.0, math.nan, 1.5, None, math.inf], pa.float64(), pa.float32()),
        (["", "a", None, "x" * 8, "y" * 257], pa.string(), pa.large_string()),
        (["", "a", None, "x" * 8, "y" * 257], pa.string(), pa.string_view()),
        (["", "a", None, "x" * 8], pa.string(), pa.dictionary(pa.int8(), pa.string())),
        ([b"abc", b"xyz", None], pa.binary(), pa.binary(3)),
        ([Decimal("1.50"), Decimal("-2.00"), None], pa.decimal128(9, 2), pa.decimal256(70, 2)),
        ([Decimal("1.50"), Decimal("-2.00"), None], pa.decimal128(9, 2), pa.decimal32(9, 2)),
        ([_NOON, None], pa.timestamp("us", "UTC"), pa.timestamp("ns", "Asia/Tokyo")),
        ([_NOON, None], pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")),
        ([date(1960, 5, 1), None], pa.date32(), pa.date64()),
        ([time(1, 2, 3), None], pa.time32("s"), pa.time64("ns")),
        ([timedelta(days=-3), None], pa.duration("s"), pa.duration("ns")),
    ],
    ids=str,
)
def test_layouts_of_the_same_values_agree(
    values: list[Any], one: pa.DataType, other: pa.DataType
) -> None:
    tables = [pa.table({"k": pa.array(values, type_)}) for type_ in (one, other)]

    first, second = (key_hashes(table, ["k"]) for table in tables)

    assert first.tolist() == second.tolist()
    assert len(set(first.tolist())) == len(values)


@pytest.mark.parametrize("name", KINDS)
def test_slices_chunks_and_single_rows_agree(name: str) -> None:
    table = odd_table(1, 300)
    whole = key_hashes(table, [name])

    pieces = pa.concat_tables([table.slice(0, 7), table.slice(7, 0), table.slice(7)])
    rows = [key_hashes(table.slice(row, 1), [name])[0] for row in range(40)]

    assert key_hashes(pieces, [name]).tolist() == whole.tolist()
    assert key_hashes(table.slice(13, 50), [name]).tolist() == whole[13:63].tolist()
    assert rows == whole[:40].tolist()


def test_nan_and_zero_have_one_hash_and_text_keeps_its_zeros() -> None:
    bits = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0, 1 << 63], dtype=np.uint64)
    hashes = key_hashes(pa.table({"k": bits.view(np.float64)}), ["k"])
    texts = key_hashes(pa.table({"k": ["", "\0", "\0\0", "a", "a\0", "\0a"]}), ["k"])

    assert hashes[0] == hashes[1]
    assert hashes[2] == hashes[3]
    assert len(set(texts.tolist())) == 6


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.int64()), pa.struct([("a", pa.int8())]), pa.month_day_nano_interval()]
)
def test_a_nested_key_is_refused_by_name(type_: pa.DataType) -> None:
    with pytest.raises(KeyRefusedError, match="column=k"):
        key_hashes(pa.table({"k": pa.array([], type_)}), ["k"])


def test_buckets_are_even_and_columns_are_in_order() -> None:
    keys = pa.table({"a": range(100_000), "b": [f"key{n}" for n in range(100_000)]})
    for columns in (("a",), ("b",), ("a", "b")):
        counts = np.bincount(bucket_ids(keys, HashKeys(columns), 100), minlength=100)
        assert counts.min() > 850
        assert counts.max() < 1150
    pairs = pa.table({"a": [1, 2], "b": [2, 1]})
    assert len(set(key_hashes(pairs, ["a", "b"]).tolist())) == 2
    assert set(bucket_ids(keys, HashKeys(()), 100).tolist()) == {
        int(bucket_ids(keys.slice(0, 1), HashKeys(()), 100)[0])
    }
