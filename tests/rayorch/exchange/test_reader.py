"""What is lost or damaged is said to be so, and by which part."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from connectors.store import Store, open_store
from rayorch.exchange import ExchangeIndex, ExchangeLostError, ExchangePart, open_side
from rayorch.exchange.parts import carried_schema
from rayorch.exchange.splits import ReduceSplit, RowRange
from rayorch.exchange.writer import Codec
from rayorch.relational import DedupeCode, RepartitionCode
from tests.rayorch.exchange.rows import ids, odd_table, read_back, written

CODE = DedupeCode(by=("int",))
ALL = ReduceSplit(index=0, sides=((RowRange(0, 9000),),), rows=(9000,), raw_bytes=(1,), requests=3)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(str(tmp_path) if request.param == "file" else f"memory://{tmp_path.name}")


@pytest.fixture
def tables() -> list[pa.Table]:
    return [odd_table(seed, 3000) for seed in range(3)]


def _blocks(part: ExchangePart) -> list[tuple[int, int]]:
    reads = ExchangeIndex([[part]]).sides[0].reads([RowRange(0, part.rows)])
    return [(block.start, block.size_bytes) for block in reads[0]]


@pytest.mark.parametrize("codec", ["none", "lz4", "zstd"])
def test_a_flipped_bit_anywhere_in_a_block_names_the_part(
    store: Store, tables: list[pa.Table], codec: Codec
) -> None:
    (parts,) = written(store, CODE, [tables], codec=codec, memory_bytes=2 << 20)
    index = ExchangeIndex([parts])
    key = parts[1].key
    whole = store.get(key)
    for start, size_bytes in _blocks(parts[1]):
        for at in (start, start + 8, start + size_bytes // 2, start + size_bytes - 1):
            damaged = bytearray(whole)
            damaged[at] ^= 1
            store.put(key, bytes(damaged))

            with pytest.raises(ExchangeLostError) as caught:
                read_back(store, index, ALL)

            assert (caught.value.parts, caught.value.keys) == ((1,), (key,))
            assert caught.value.retryable
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301


@pytest.mark.parametrize("left", [0.0, 0.001, 0.5, 0.99])
def test_a_file_that_ends_too_early_names_the_part(
    store: Store, tables: list[pa.Table], left: float
) -> None:
    (parts,) = written(store, CODE, [tables])
    whole = store.get(parts[2].key)
    store.put(parts[2].key, whole[: int(len(whole) * left)])

    with pytest.raises(ExchangeLostError) as caught:
        read_back(store, ExchangeIndex([parts]), ALL)

    assert caught.value.parts == (2,)


def test_a_missing_file_names_the_part_and_what_others_read_is_there(
    store: Store, tables: list[pa.Table]
) -> None:
    (parts,) = written(store, RepartitionCode(), [tables])
    index = ExchangeIndex([parts])
    store.delete([parts[0].key])

    with pytest.raises(ExchangeLostError) as caught:
        read_back(store, index, ALL)
    elsewhere = ReduceSplit(
        index=0, sides=((RowRange(3000, 9000),),), rows=(1,), raw_bytes=(1,), requests=2
    )

    assert caught.value.parts == (0,)
    assert ids(read_back(store, index, elsewhere)) == ids(pa.concat_tables(tables[1:]))


def test_all_missing_files_are_named_at_once(store: Store, tables: list[pa.Table]) -> None:
    (parts,) = written(store, CODE, [tables])
    store.delete([parts[0].key, parts[2].key])

    with pytest.raises(ExchangeLostError) as caught:
        read_back(store, ExchangeIndex([parts]), ALL)

    assert caught.value.parts == (0, 2)
    assert caught.value.keys == (parts[0].key, parts[2].key)


def test_a_damaged_index_is_not_believed(store: Store, tables: list[pa.Table]) -> None:
    data = bytearray(ExchangeIndex(written(store, CODE, [tables])).dump())
    data[len(data) // 2] ^= 1

    with pytest.raises(ExchangeLostError, match="index"):
        ExchangeIndex.load(bytes(data))


def test_columns_arrive_as_they_are_carried(store: Store, tables: list[pa.Table]) -> None:
    (parts,) = written(store, RepartitionCode(), [tables])

    table = read_back(store, ExchangeIndex([parts]), ALL)

    assert table is not None
    assert table.schema == carried_schema(tables[0].schema)
    assert table.schema.field("dictionary").type == pa.string()
    assert table.to_pylist()[5] == pa.concat_tables(tables).to_pylist()[5]


def test_ranges_are_fetched_ahead_in_order_and_a_reader_can_be_left(tmp_path: Path) -> None:
    """An object store's reader that is dropped in the middle stops its threads."""
    store = open_store(f"memory://{tmp_path.name}")
    tables = [pa.table({"id": range(n * 50_000, (n + 1) * 50_000)}) for n in range(40)]
    (parts,) = written(store, RepartitionCode(), [tables], memory_bytes=64 << 20)
    split = ReduceSplit(
        index=0, sides=((RowRange(10, 1_999_990),),), rows=(1,), raw_bytes=(1,), requests=40
    )
    index = ExchangeIndex([parts])
    found = open_side(store, index, split, ahead_bytes=1 << 20, threads=3)
    first = next(found)
    found.close()  # type: ignore[attr-defined]
    everything = list(open_side(store, index, split, ahead_bytes=1, threads=2))

    assert first.column("id")[0].as_py() == 10
    assert ids(pa.concat_tables(everything)) == list(range(10, 1_999_990))
