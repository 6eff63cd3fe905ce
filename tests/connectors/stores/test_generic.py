import contextlib
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

from connectors.errors import BadUrlError, UnsafeStoreError
from connectors.probe import probe_exclusive_create, require_exclusive_create
from connectors.store import open_store
from connectors.stores import generic
from connectors.stores.generic import GenericStore
from connectors.url import parse_url
from tests.s3_server import S3Server


def open_generic(url: str) -> GenericStore:
    return generic.open_location(parse_url(url), {})


def test_the_first_exclusive_create_probes_the_store(
    fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_generic(f"memory://{fresh_name}/x")

    promised_before = store.promises.exclusive_create
    first = store.put_if_absent("k", b"x")
    promised_after = store.promises.exclusive_create
    # No probe any more, which would see this.
    monkeypatch.setattr(GenericStore, "head", lambda _self, _key: None)

    assert (promised_before, first, promised_after) == (False, "won", True)
    assert pickle.loads(pickle.dumps(store)).put_if_absent("k", b"y") == "occupied"  # noqa: S301
    assert [info.key for info in store.list()] == ["k"]


def test_a_store_that_keeps_old_answers_is_refused_at_the_first_exclusive_create(
    fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who loses a race must see who won."""
    store = open_generic(f"memory://{fresh_name}/x")
    monkeypatch.setattr(GenericStore, "list", lambda _self, _prefix: iter(()))

    with pytest.raises(UnsafeStoreError, match="reads lag: a list of a new object is not of now"):
        store.put_if_absent("k", b"x")


def test_threads_that_create_one_key_in_memory_have_one_winner(
    fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks first and writes then, so here each who looked waits for another to look, too."""
    store = open_generic(f"memory://{fresh_name}/x")
    store.trust_exclusive_create()
    both_looked = threading.Barrier(2)
    look = MemoryFileSystem.exists

    def looked(self: MemoryFileSystem, path: str, **options: object) -> bool:
        found = bool(look(self, path, **options))
        with contextlib.suppress(threading.BrokenBarrierError):
            both_looked.wait(0.2)
        return found

    monkeypatch.setattr(MemoryFileSystem, "exists", looked)
    with ThreadPoolExecutor(2) as contenders:
        found = list(contenders.map(lambda body: store.put_if_absent("k", body), [b"a", b"b"]))

    assert sorted(found) == ["occupied", "won"]


def test_local_files_through_fsspec_are_refused_with_reason_and_remedy(tmp_path: Path) -> None:
    """It looks first and writes then: a race would show that only now and then."""
    store = open_generic(str(tmp_path))

    report = probe_exclusive_create(store)

    assert not report.atomic
    with pytest.raises(UnsafeStoreError, match=r"look first and write then.*keep the home on"):
        require_exclusive_create(store)
    assert list(store.list()) == []


def test_local_files_through_fsspec_serve_for_all_else(tmp_path: Path) -> None:
    store = open_generic(str(tmp_path / "root"))

    store.put("a/é b", b"data")
    store.put("a-b", b"x")

    assert store.get("a/é b") == b"data"
    assert [info.key for info in store.list()] == ["a-b", "a/é b"]
    assert [info.key for info in store.list("a/")] == ["a/é b"]
    store.delete(["a-b", "nothing"])
    assert store.head("a-b") is None


def test_a_file_system_that_inherits_check_then_write_is_refused_by_its_code(
    fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", AbstractFileSystem.pipe_file)
    store = open_generic(f"memory://{fresh_name}/x")

    with pytest.raises(UnsafeStoreError, match="base class"):
        require_exclusive_create(store)


@pytest.mark.parametrize("size_bytes", [0, 8 * 1024 * 1024 + 1])
def test_bodies_that_fsspec_would_not_create_in_one_request_are_refused(
    fresh_name: str, size_bytes: int
) -> None:
    store = open_generic(f"memory://{fresh_name}/x")
    store.trust_exclusive_create()

    with pytest.raises(UnsafeStoreError, match="bytes are not between"):
        store.put_if_absent("k", b"x" * size_bytes)


def test_another_client_s_writes_are_seen_at_once(fresh_name: str) -> None:
    """Caches of listings are off: they would say that a new file is missing."""
    first, second = (open_generic(f"memory://{fresh_name}/x") for _ in range(2))
    assert list(first.list()) == []

    second.put("k", b"x")

    assert [info.key for info in first.list()] == ["k"]
    assert first.head("k") is not None


def test_a_scheme_that_nothing_knows_names_the_nearest() -> None:
    with pytest.raises(BadUrlError, match="no store knows s4://, did you mean s3://"):
        open_store("s4://bucket/x")


def test_a_file_system_whose_library_is_missing_is_named_with_the_library() -> None:
    with pytest.raises(BadUrlError, match="gdrive"):
        open_store("gdrive://folder/x")


@pytest.mark.e2e
def test_s3_through_s3fs_passes_the_race(s3: S3Server, fresh_name: str) -> None:
    """It answers a taken key with "invalid argument" here; what the key holds decides."""
    store = open_generic(f"{s3.url}/{fresh_name}")

    report = probe_exclusive_create(store, contenders=2, rounds=1)

    assert report.atomic, report.reason
