"""Reads through the cache: the same bytes, fetched once for each version."""

import io
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import ObjectMissingError
from connectors.range_cache import RangeCache
from connectors.source import SourceSpec, discover, open_reader
from connectors.store import ObjectInfo, Store, open_store
from connectors.stores import cached as cached_module
from connectors.stores.cached import CachedStore, cached


class CountingStore:
    """A store in memory that counts what is fetched; for the rest it is that store."""

    def __init__(self, url: str) -> None:
        self.inner = open_store(url)
        self.fetched: list[str] = []
        self.versions = True

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def head(self, key: str) -> ObjectInfo | None:
        info = self.inner.head(key)
        if info is None or self.versions:
            return info
        return ObjectInfo(info.key, info.size_bytes, info.modified_s, "")

    def open_input(self, key: str) -> pa.NativeFile:
        self.fetched.append(key)
        return self.inner.open_input(key)

    def get(self, key: str) -> bytes:
        self.fetched.append(key)
        return self.inner.get(key)


@pytest.fixture
def source(request: pytest.FixtureRequest) -> CountingStore:
    return CountingStore(f"memory://{request.node.name[:40].replace('[', '-').replace(']', '')}")


@pytest.fixture
def cache(tmp_path: Path) -> RangeCache:
    return RangeCache(str(tmp_path / "cache"), 64 << 20)


def through(source: CountingStore, cache: RangeCache) -> CachedStore:
    store: Store = source  # type: ignore[assignment] # It delegates what it does not count.
    return CachedStore(store, cache)


DATA = bytes(range(256)) * 400


def test_a_range_is_fetched_once(source: CountingStore, cache: RangeCache) -> None:
    source.inner.put("k", DATA)
    for _ in range(3):
        store = through(source, cache)
        assert store.get_range("k", 100, 1000) == DATA[100:1100]
        assert store.get("k") == DATA

    assert source.fetched == ["k", "k"]
    assert (cache.counts.hits, cache.counts.misses) == (4, 2)


def test_an_input_reads_like_the_object(source: CountingStore, cache: RangeCache) -> None:
    source.inner.put("k", DATA)
    for _ in range(2):
        with through(source, cache).open_input("k") as file:
            assert file.size() == len(DATA)
            assert file.read(10) == DATA[:10]
            assert file.read_at(50, 1000) == DATA[1000:1050]
            file.seek(-5, io.SEEK_END)
            assert file.read() == DATA[-5:]
            assert file.read() == b""
    assert source.fetched == ["k"]


def test_long_reads_are_kept_in_pieces(
    source: CountingStore, cache: RangeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cached_module, "PIECE_BYTES", 10_000)
    source.inner.put("k", DATA)
    assert through(source, cache).get("k") == DATA
    before = cache.counts

    assert through(source, cache).get("k") == DATA

    assert cache.counts.since(before).hits == 11
    assert cache.counts.since(before).misses == 0


def test_an_object_written_anew_is_read_anew(source: CountingStore, cache: RangeCache) -> None:
    source.inner.put("k", DATA)
    through(source, cache).get("k")
    source.inner.put("k", DATA[::-1])

    assert through(source, cache).get("k") == DATA[::-1]


def test_what_changed_while_it_was_read_is_not_kept_under_the_old_version(
    source: CountingStore, cache: RangeCache
) -> None:
    """Its bytes may be those of the new one: whoever gets the old one back would read them."""
    source.inner.put("k", DATA)
    store = through(source, cache)
    file = store.open_input("k")
    source.inner.put("k", DATA[::-1])
    file.read_at(1000, 0)
    file.close()
    before = cache.counts

    store.get_range("k", 0, 1000)

    assert cache.counts.since(before).hits == 0


def test_a_store_without_versions_is_read_as_it_is(
    source: CountingStore, cache: RangeCache
) -> None:
    source.versions = False
    source.inner.put("k", DATA)
    store = through(source, cache)

    assert store.get("k") == store.get("k") == DATA
    assert store.get_range("k", 5, 5) == DATA[5:10]
    assert store.open_input("k").read() == DATA
    assert cache.counts.hits == cache.counts.misses == 0


def test_a_missing_object_is_missing(source: CountingStore, cache: RangeCache) -> None:
    with pytest.raises(ObjectMissingError):
        through(source, cache).open_input("nothing")


def test_files_of_this_machine_are_read_as_they_are(tmp_path: Path, cache: RangeCache) -> None:
    local = open_store(str(tmp_path))

    assert cached(local, cache) is local
    assert cached(local, None) is local


def test_a_store_that_travels_leaves_its_cache_behind(
    source: CountingStore, cache: RangeCache
) -> None:
    store = CachedStore(source.inner, cache)

    travelled = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own bytes.
    assert not isinstance(travelled, CachedStore)


def test_a_dead_disk_costs_the_caching_alone(source: CountingStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    broken = RangeCache(str(tmp_path / "file" / "x"), 64 << 20)
    source.inner.put("k", DATA)

    assert [through(source, broken).get("k") for _ in range(2)] == [DATA, DATA]
    assert broken.counts.refused == 2


def test_a_source_reads_its_files_through_the_cache(
    tmp_path: Path, cache: RangeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet, whole files and row groups: the second reader fetches nothing."""
    table = pa.table({"a": list(range(200_000)), "b": [f"row {i}" for i in range(200_000)]})
    pq.write_table(table, tmp_path / "lines.parquet", row_group_size=50_000)
    # As if the files were somewhere else.
    monkeypatch.setattr("connectors.formats.files.cached", CachedStore)
    spec = SourceSpec(name="lines", urls=(str(tmp_path / "lines.parquet"),))
    discovery, splits = discover(spec, slots=2)

    def rows() -> pa.Table:
        reader = open_reader(spec, discovery, cache=cache)
        tables = [t for split in splits for t in reader.batches(split, 1 << 20)]
        return pa.concat_tables(tables)

    assert rows().equals(table)
    before = cache.counts
    assert rows().equals(table)

    again = cache.counts.since(before)
    assert again.misses == 0
    assert again.hit_bytes > 100_000
