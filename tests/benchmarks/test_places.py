"""Where sides read and write: a folder, or a store that is filled once and left as it was."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.places import InStore, OnDisk, parquet_files, place_of
from connectors.store import open_store
from rayorch.bench.errors import SuiteError
from rayorch.ids import new_nonce


def some_input(cache: Path) -> Path:
    folder = cache / "tpch-1-plain" / "orders"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"id": [1, 2]}), folder / "orders.1.parquet")
    return folder


def in_store(cache: Path) -> tuple[InStore, str]:
    url = f"memory://bench-{new_nonce()}"
    place = place_of(url, cache, cache)
    assert isinstance(place, InStore)
    return place, url


def keys(url: str) -> list[str]:
    return [info.key for info in open_store(url).list()]


def test_an_input_is_copied_into_a_store_once(tmp_path: Path) -> None:
    folder = some_input(tmp_path)
    place, url = in_store(tmp_path)

    first = place.source(folder)
    open_store(first).delete(["orders.1.parquet"])
    second = place.source(folder)

    assert first == second == f"{url}/tpch-1-plain/orders"
    assert keys(url) == ["tpch-1-plain/orders/_copied"]  # What was taken out is not put back.


def test_a_copy_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    folder = some_input(tmp_path)
    place, url = in_store(tmp_path)
    source = place.source(folder)
    open_store(source).delete(["orders.1.parquet", "_copied"])

    place.source(folder)

    assert keys(url) == ["tpch-1-plain/orders/_copied", "tpch-1-plain/orders/orders.1.parquet"]


def test_an_output_is_looked_at_as_it_was_written_and_goes_with_its_session(tmp_path: Path) -> None:
    place, url = in_store(tmp_path)
    place.source(some_input(tmp_path))
    output = f"{place.root}/out-1"
    open_store(output).put("_delta_log/0.json", b"{}")

    with place.local(output) as folder:
        assert Path(folder, "_delta_log", "0.json").read_bytes() == b"{}"
    assert not Path(folder).exists()
    place.remove(place.root)

    assert keys(url) == ["tpch-1-plain/orders/_copied", "tpch-1-plain/orders/orders.1.parquet"]


def test_without_a_store_everything_is_in_folders(tmp_path: Path) -> None:
    folder = some_input(tmp_path)
    place = place_of("", tmp_path, tmp_path / "session")

    assert isinstance(place, OnDisk)
    assert place.root == str(tmp_path / "session")
    assert place.source(folder) == str(folder)
    assert parquet_files(place.source(folder)) == [str(folder / "orders.1.parquet")]


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="--data names a store, and this is a folder") as caught:
        place_of(str(tmp_path / "lake"), tmp_path, tmp_path)

    assert "XDG_CACHE_HOME" in str(caught.value)
    assert not list(tmp_path.iterdir())
