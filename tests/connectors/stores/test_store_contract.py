"""What every store promises; see `connectors/store.py`."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import BadKeyError, ObjectMissingError
from connectors.probe import probe_exclusive_create, probe_reads
from connectors.store import Store

ODD_KEYS = [
    "with space/and more.txt",
    "déjà/日本/😀",
    "percent%20/%2F",
    "a#b?c&d=e+f",
    "...",
    ".hidden/x",
    "tilde~[x]{y}'z",
    "day=2026-11-22/part-0.parquet",
    "long/" + "n" * 200,
]
BAD_KEYS = ["", "/", "/abs", "a//b", "a/", "..", "../x", "a/../b", "a/..", ".", "./a", "nul\x00"]

WHOLE_KINDS = (
    "local",
    "memory",
    pytest.param("s3", marks=pytest.mark.e2e),
    pytest.param("gs", marks=pytest.mark.e2e),
)
"""Stores that promise whole objects; fsspec's own writes are seen in parts."""


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [info.key for info in store.list(prefix, after)]


def test_what_was_put_is_got(store: Store) -> None:
    info = store.put("folder/name", b"bytes")

    assert store.get("folder/name") == b"bytes"
    assert (info.key, info.size_bytes) == ("folder/name", 5)
    head = store.head("folder/name")
    assert head is not None
    assert (head.key, head.size_bytes, head.version) == ("folder/name", 5, info.version)
    assert [(each.key, each.version) for each in store.list()] == [("folder/name", info.version)]
    assert abs(head.modified_s - info.modified_s) < 60


def test_put_replaces_and_changes_the_version_even_of_equal_length(store: Store) -> None:
    first = store.put("k", b"one")
    second = store.put("k", b"two")

    assert store.get("k") == b"two"
    if "memory" not in store.url or store.promises.note.startswith("one process"):
        assert first.version != second.version


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")

    assert store.get("empty") == b""
    assert store.get_range("empty", 0, 10) == b""
    assert keys(store) == ["empty"]


@pytest.mark.parametrize("call", ["get", "open_input"])
def test_a_missing_object_is_named(store: Store, call: str) -> None:
    store.put("folder/name", b"x")

    for key in ("nothing", "folder", "folder/name/below"):
        with pytest.raises(ObjectMissingError) as caught:
            getattr(store, call)(key)
        assert caught.value.key == key
        assert store.head(key) is None
    with pytest.raises(ObjectMissingError):
        store.get_range("nothing", 0, 1)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_key_that_could_leave_the_root_is_refused_by_every_call(store: Store, key: str) -> None:
    for call in (
        store.get,
        store.head,
        store.open_input,
        store.open_output,
        store.local_path,
        partial(store.get_range, start=0, length=1),
        partial(store.put, data=b"x"),
        partial(store.put_if_absent, data=b"x"),
    ):
        with pytest.raises(BadKeyError):
            call(key)
    with pytest.raises(BadKeyError):
        store.delete([key])


@pytest.mark.parametrize("key", ODD_KEYS)
def test_spaces_unicode_and_symbols_are_just_names(store: Store, key: str) -> None:
    store.put(key, b"data")

    assert store.get(key) == b"data"
    assert keys(store) == [key]
    assert store.put_if_absent(key, b"other") == "occupied"
    assert store.open_input(key).read() == b"data"
    with store.open_output(key + "2") as stream:
        stream.write(b"more")
    assert store.get(key + "2") == b"more"
    store.delete([key])
    assert store.head(key) is None


def test_a_list_is_in_key_order_through_all_folders(store: Store) -> None:
    """`a-b` comes before `a/b`, although the folder `a` comes before the name `a-b`."""
    names = ["a-b", "a.c/x", "a/b", "a/b c", "a/c", "a0", "b", "B", "é", "日本", "z/y/x"]
    for name in names:
        store.put(name, b"x")

    assert keys(store) == sorted(names)
    for after in [*names, "a", "a/", "a.", "~", "0"]:
        assert keys(store, after=after) == sorted(name for name in names if name > after)


def test_a_list_prefix_is_a_string_not_a_folder(store: Store) -> None:
    names = ["log/001", "log/002", "log/010", "log2/001", "lo", "log/01/x"]
    for name in names:
        store.put(name, b"x")

    for prefix in ["", "l", "lo", "log", "log/", "log/0", "log/01", "log/01/", "m", "log/9/"]:
        assert keys(store, prefix) == sorted(name for name in names if name.startswith(prefix))
    assert keys(store, "log/", "log/001") == ["log/002", "log/01/x", "log/010"]
    assert keys(store, "log/0", "log/010") == []
    assert keys(store, "log/0", "a") == ["log/001", "log/002", "log/01/x", "log/010"]


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert keys(store) == []
    assert keys(store, "no/such/folder") == []


def test_delete_takes_many_and_forgives_the_missing(store: Store) -> None:
    for number in range(5):
        store.put(f"d/{number}", b"x")

    store.delete([f"d/{number}" for number in range(1, 9)])
    store.delete([])
    store.delete(["d", "never/was"])

    assert keys(store) == ["d/0"]


def test_a_big_object_comes_back_by_ranges_and_whole(store: Store) -> None:
    """More than one piece of a client that reads and writes in pieces."""
    data = bytes(range(256)) * (20 << 12)  # 20 MiB

    store.put("big", data)

    middle = 8 * 1024 * 1024
    assert store.get("big") == data
    for start, length in [(0, 7), (middle - 5, 10), (len(data) - 3, 50), (5, middle + 1)]:
        assert store.get_range("big", start, length) == data[start : start + length]
    assert store.get_range("big", len(data), 10) == b""
    assert store.get_range("big", len(data) + 99, 10) == b""
    assert store.get_range("big", 3, 0) == b""


def test_put_if_absent_gives_a_key_once_and_says_so_again(store: Store) -> None:
    """Asking again with the same bytes is how a doubtful outcome is settled."""
    assert store.put_if_absent("log/1", b"mine") == "won"
    assert store.put_if_absent("log/1", b"theirs") == "occupied"
    assert store.put_if_absent("log/1", b"mine") == "won"

    assert store.get("log/1") == b"mine"
    assert keys(store) == ["log/1"]


def test_a_key_can_be_taken_again_after_delete(store: Store) -> None:
    store.put_if_absent("k", b"first")
    store.delete(["k"])

    assert store.put_if_absent("k", b"second") == "won"
    assert store.get("k") == b"second"


def test_a_second_client_sees_every_write_and_delete_at_once(store: Store) -> None:
    report = probe_reads(store, rounds=3)

    assert report.stale == ()
    assert keys(store) == []


def test_of_many_threads_one_wins_and_its_bytes_stay(store: Store) -> None:
    report = probe_exclusive_create(store, contenders=4, rounds=3)

    assert report.atomic, report.reason
    assert keys(store) == [], "the probe leaves nothing behind"


def test_an_output_appears_whole_at_close(store: Store) -> None:
    stream = store.open_output("out/file")
    stream.write(b"first ")
    stream.write(memoryview(b"second"))

    assert stream.tell() == 12
    assert store.head("out/file") is None
    assert keys(store) == []

    stream.close()
    stream.close()

    assert stream.closed
    assert store.get("out/file") == b"first second"
    with pytest.raises(ValueError, match="closed"):
        stream.write(b"late")


def test_an_aborted_failed_or_dropped_output_leaves_nothing(store: Store) -> None:
    store.put("kept", b"old")
    aborted = store.open_output("aborted")
    aborted.write(b"x" * 100)
    aborted.abort()
    aborted.close()
    dropped = store.open_output("kept")
    dropped.write(b"new")
    del dropped
    failure = RuntimeError("in the middle")
    with pytest.raises(RuntimeError), store.open_output("failed") as stream:  # noqa: PT012
        stream.write(b"half")
        raise failure

    assert keys(store) == ["kept"]
    assert store.get("kept") == b"old"


def test_pyarrow_writes_and_reads_parquet_through_the_streams(store: Store) -> None:
    table = pa.table({"id": range(100_000), "name": [f"n{n % 77}" for n in range(100_000)]})

    with store.open_output("t/part 0.parquet") as stream:
        pq.write_table(table, stream, row_group_size=10_000)
    with store.open_input("t/part 0.parquet") as source:
        back = pq.ParquetFile(source).read_row_groups([3, 7], columns=["id"])

    assert back.column("id").to_pylist() == [*range(30_000, 40_000), *range(70_000, 80_000)]


def test_a_pyarrow_writer_that_dies_publishes_nothing(store: Store) -> None:
    """The writer's finaliser must not close the stream that it was given."""
    stream = store.open_output("t.parquet")
    writer = pq.ParquetWriter(stream, pa.schema({"id": pa.int64()}))
    writer.write_table(pa.table({"id": [1, 2]}))
    stream.abort()
    del writer, stream

    assert keys(store) == []


def test_a_pickled_store_sees_the_same_objects(store: Store) -> None:
    store.put("k", b"v")

    again = pickle.loads(pickle.dumps(store))  # noqa: S301

    assert again.url == store.url
    assert again.get("k") == b"v"
    assert again.put_if_absent("k", b"w") == "occupied"


@pytest.mark.parametrize("store", WHOLE_KINDS, indirect=True)
def test_a_reader_never_sees_half_of_an_overwritten_object(store: Store) -> None:
    """Not of stores over fsspec, which promises no whole objects."""
    bodies = [b"a" * 300_000, b"b" * 300_001]
    store.put("k", bodies[0])
    done = Event()

    def read() -> set[bytes]:
        seen = set()
        while not done.is_set():
            seen.add(store.get("k"))
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for number in range(20):
            store.put("k", bodies[number % 2])
        done.set()

    for reader in readers:
        assert reader.result() <= set(bodies)
