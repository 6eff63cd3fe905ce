"""Data from a seed: the same everywhere, as awkward as it is said to be, and never over another."""

import collections
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from connectors.errors import MissingExtraError
from connectors.store import open_store
from rayorch.bench import generating
from rayorch.bench.errors import SuiteError
from rayorch.bench.generating import Wanted, generate
from rayorch.bench.shapes import HOT_KEY, SHAPES, WIDE_COLUMNS, table_of
from rayorch.ids import new_nonce


def silent(line: str) -> None:
    del line


@pytest.mark.parametrize("kind", SHAPES)
def test_a_seed_makes_the_same_rows_every_time_and_another_seed_others(kind: str) -> None:
    rows = range(500, 1_000)
    first = table_of(SHAPES[kind], 3, 1, rows)

    assert first.equals(table_of(SHAPES[kind], 3, 1, rows))
    assert not first.equals(table_of(SHAPES[kind], 4, 1, rows))
    assert first["id"].to_pylist() == list(range(500, 1_000))


def test_each_shape_is_awkward_in_its_own_way() -> None:
    def made(kind: str) -> pa.Table:
        return table_of(SHAPES[kind], 1, 0, range(20_000))

    zipf = sorted(collections.Counter(made("zipf")["key"].to_pylist()).values(), reverse=True)
    assert zipf[0] / 20_000 == pytest.approx(0.18, abs=0.03)  # 1 / zeta(1.2) of a million
    assert zipf[0] / zipf[1] == pytest.approx(2**1.2, rel=0.2)
    hot = pc.mean(pc.equal(made("hot")["key"], HOT_KEY).cast(pa.float64())).as_py()
    assert hot == pytest.approx(0.5, abs=0.02)
    work = made("pareto")["work"].to_numpy()
    assert work.max() / np.median(work) > 100
    assert made("wide").num_columns == WIDE_COLUMNS + 1
    lengths = pc.count_substring(made("strings")["text"], " ").to_numpy()
    assert (lengths.min(), lengths.max()) == (0, 39)
    nested = made("nested").schema
    assert pa.types.is_list(nested.field("items").type)
    assert pa.types.is_struct(nested.field("where").type)


def test_files_are_written_with_the_rows_that_were_asked_for(tmp_path: Path) -> None:
    told: list[str] = []

    made = generate(Wanted(kind="zipf", to=str(tmp_path / "z"), rows=1_000, files=3), told.append)

    assert (made.files, made.rows, len(told)) == (3, 1_000, 3)
    table = pq.read_table(tmp_path / "z")
    assert table.sort_by("id")["id"].to_pylist() == list(range(1_000))
    sizes = [path.stat().st_size for path in (tmp_path / "z").glob("*.parquet")]
    assert made.size_bytes == sum(sizes)


def test_any_store_takes_them() -> None:
    url = f"memory://bench-{new_nonce()}"

    generate(Wanted(kind="nested", to=url, rows=100, files=2), silent)

    keys = [info.key for info in open_store(url).list()]
    assert keys == ["part-00000.parquet", "part-00001.parquet"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.parquet").write_bytes(b"mine")

    with pytest.raises(SuiteError, match=r"there is something already: mine\.parquet") as caught:
        generate(Wanted(kind="zipf", to=str(tmp_path), rows=10, files=1), silent)

    assert "nothing is overwritten" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.parquet"]


class Disk(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize("kind", ["zipf", "tpch"])
def test_a_disk_without_room_is_refused_before_anything_is_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10, 9, 1_000))

    with pytest.raises(SuiteError, match=r"there is no room for this: about .* 1000 B are free"):
        generate(Wanted(kind=kind, to=str(tmp_path / "new")), silent)

    assert not list(tmp_path.rglob("*.parquet"))


def test_tpch_is_made_table_by_table_and_part_by_part(tmp_path: Path) -> None:
    wanted = Wanted(kind="tpch", to=str(tmp_path), files=2, scale_factor=0.001)

    made = generate(wanted, silent)

    assert pq.read_table(tmp_path / "lineitem").num_rows == 6_005
    assert pq.read_table(tmp_path / "nation").num_rows == 25
    assert sorted(path.name for path in (tmp_path / "orders").iterdir()) == [
        "orders.1.parquet",
        "orders.2.parquet",
    ]
    assert made.files == 2 * 6 + 2


@pytest.mark.slow
def test_parts_that_are_made_one_by_one_are_those_that_are_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        tables = ("orders", "region")
        wanted = Wanted(kind="tpch", to=str(folder), files=3, scale_factor=0.001, tables=tables)
        generate(wanted, silent)
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.parquet")}

    at_once = made("at-once")
    monkeypatch.setattr(generating, "AT_ONCE_BYTES_MAX", 0)

    assert made("one-by-one") == at_once
    assert set(at_once) == {
        *(f"orders/orders.{n}.parquet" for n in (1, 2, 3)),
        "region/region.1.parquet",
    }


def test_without_tpchgen_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    with pytest.raises(MissingExtraError, match=r"pip install 'rayorch\[bench\]'"):
        generate(Wanted(kind="tpch", to=str(tmp_path)), silent)
