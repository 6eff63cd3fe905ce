import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from connectors.errors import (
    BadKeyError,
    BadUrlError,
    ObjectMissingError,
    StoreDeniedError,
    StoreFullError,
    StoreReadOnlyError,
    UnsafeStoreError,
)
from connectors.store import Store, open_store
from connectors.stores.os_errors import write_error

FULL_BYTES = 64 * 1024
NOBODY = 65534


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file of this process grow past a limit: the kernel then takes a part of a write and
    refuses the rest, as it does when a disk fills in the middle of one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder that this process can read and not write, also when the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "lake"
        folder.mkdir()
        (folder / "old").write_bytes(b"old")
        Path(name).chmod(0o755)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            if user == 0:
                os.seteuid(user)
            folder.chmod(0o755)


def _note_and_do(steps: list[str], name: str, do: Callable[..., object], *args: object) -> object:
    steps.append(name)
    return do(*args)


def files_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("write", ["put", "put_if_absent", "open_output"])
def test_a_disk_that_fills_in_the_middle_leaves_what_was_there(tmp_path: Path, write: str) -> None:
    store = open_store(str(tmp_path))
    store.put("k", b"old")
    too_much = b"x" * (FULL_BYTES + 1)

    with full_disk(), pytest.raises(StoreFullError) as caught:  # noqa: PT012 one of three ways
        if write == "open_output":
            with store.open_output("k") as stream:
                stream.write(too_much)
        else:
            getattr(store, write)("new" if write == "put_if_absent" else "k", too_much)

    assert caught.value.remedy == "fix"
    assert store.get("k") == b"old"
    assert files_under(tmp_path) == ["k"], "the hidden file is removed too"


def test_a_write_longer_than_the_kernel_takes_at_once_is_whole(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))

    with full_disk():
        store.put("k", b"x" * FULL_BYTES)

    assert store.get("k") == b"x" * FULL_BYTES


@pytest.mark.parametrize("call", ["put", "put_if_absent", "delete", "open_output"])
def test_a_folder_that_may_not_be_written_says_so(read_only_folder: Path, call: str) -> None:
    store = open_store(str(read_only_folder))

    assert store.get("old") == b"old"
    with pytest.raises(StoreDeniedError, match="check the permissions"):  # noqa: PT012 one of four ways
        if call == "delete":
            store.delete(["old"])
        elif call == "open_output":
            store.open_output("new")
        else:
            getattr(store, call)("new", b"x")

    assert files_under(read_only_folder) == ["old"]


def test_a_read_only_mount_is_told_from_missing_permission() -> None:
    error = write_error(OSError(30, "Read-only file system"), "file:///mnt", "k")

    assert isinstance(error, StoreReadOnlyError)
    assert "mount this one writable" in str(error)


def test_a_file_system_without_hard_links_is_refused_for_exclusive_create(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only FAT and some FUSE mounts are like that, and none is at hand here."""

    def link(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted", source, None, target)

    monkeypatch.setattr(os, "link", link)

    with pytest.raises(UnsafeStoreError, match="hard links"):
        open_store(str(tmp_path)).put_if_absent("k", b"x")
    assert files_under(tmp_path) == []


def test_a_link_whose_reply_was_lost_is_a_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NFS server applies the link, its reply is lost, the repeated call finds the name taken."""
    real_link = os.link

    def link(source: str, target: str) -> None:
        real_link(source, target)
        raise FileExistsError(17, "File exists", source, None, target)

    monkeypatch.setattr(os, "link", link)

    assert open_store(str(tmp_path)).put_if_absent("k", b"nonce") == "won"


def test_an_object_and_a_folder_cannot_share_a_name(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/b", b"x")

    for call in (store.put, store.put_if_absent):
        with pytest.raises(BadKeyError):
            call("a/b/c", b"y")
    with pytest.raises(BadKeyError, match="a folder has this name"):
        store.put("a", b"y")
    assert files_under(tmp_path) == ["b"]


def test_files_of_others_are_seen_but_hidden_ones_never(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("k", b"x")
    unfinished = store.open_output("late")
    (tmp_path / "link").symlink_to("k")
    (tmp_path / "dangling").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")

    assert [info.key for info in store.list()] == ["k", "link"]
    for name in tmp_path.glob(".~ro-*"):
        with pytest.raises(BadKeyError):
            store.get(name.name)
    unfinished.abort()


def test_two_writes_in_one_tick_of_a_coarse_clock_have_two_versions(tmp_path: Path) -> None:
    """Some file systems count whole seconds: time and size alone do not tell writes apart."""
    store = open_store(str(tmp_path))
    versions = set()
    for body in (b"one", b"two"):
        store.put("k", body)
        os.utime(tmp_path / "k", (100, 100))
        versions.add(store.head("k"))

    assert len(versions) == 2


def test_a_loop_of_links_is_listed_once(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "root"))
    store.put("a/k", b"x")
    (tmp_path / "root/a/again").symlink_to(tmp_path / "root/a")

    assert [info.key for info in store.list()] == ["a/again/k", "a/k"]


def test_a_name_that_is_not_unicode_is_an_error_that_shows_it(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"latin-\xe9")).write_bytes(b"x")

    with pytest.raises(BadKeyError, match=r"latin-\\udce9"):
        list(open_store(str(tmp_path)).list())


def test_leftovers_of_dead_writers_are_swept_when_they_are_old(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a/kept", b"x")
    alive = store.open_output("a/alive")
    dead = tmp_path / "a/.~ro-0123-1-0"
    dead.write_bytes(b"half")
    os.utime(dead, (100, 100))

    assert store.sweep_unfinished("a/", before_s=200) == 1
    assert store.sweep_unfinished("", before_s=200) == 0
    alive.close()
    assert [info.key for info in store.list()] == ["a/alive", "a/kept"]


def test_what_is_durable_is_synced_before_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may lose what was not synced: first the bytes, then the name, then its folder."""
    steps: list[str] = []
    for name in ("fsync", "link", "replace"):
        monkeypatch.setattr(os, name, partial(_note_and_do, steps, name, getattr(os, name)))
    plain, durable = open_store(str(tmp_path)), open_store(str(tmp_path), {"durable": "true"})

    def steps_of(store: Store, call: str) -> list[str]:
        steps.clear()
        if call == "open_output":
            store.open_output("o").close()
        else:
            getattr(store, call)(f"{call} {store.promises.durable}", b"x")
        return list(steps)

    assert steps_of(plain, "put") == ["replace"]
    assert steps_of(durable, "put") == ["fsync", "replace", "fsync"]
    assert steps_of(plain, "open_output") == ["replace"]
    assert steps_of(durable, "open_output") == ["fsync", "replace", "fsync"]
    assert steps_of(plain, "put_if_absent") == ["fsync", "link", "fsync"]
    assert steps_of(durable, "put_if_absent") == ["fsync", "link", "fsync"]


def test_a_file_that_vanishes_while_it_is_listed_is_left_out(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    for name in "abc":
        store.put(name, b"x")
    found = store.list()

    assert next(found).key == "a"
    store.delete(["b"])

    assert [info.key for info in found] == ["c"]


def test_reading_outside_of_the_data_is_a_missing_object(tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError):
        open_store(str(tmp_path / "never made")).get("k")
    assert list(open_store(str(tmp_path / "never made")).list()) == []


def test_an_option_that_is_neither_true_nor_false_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadUrlError, match="durable must be true or false, not 'yes'"):
        open_store(str(tmp_path), {"durable": "yes"})
