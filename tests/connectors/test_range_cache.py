"""The cache on disk: bounded, whole or not there, and never a reason to fail."""

import multiprocessing
import os
from pathlib import Path

import pytest

from connectors.range_cache import CacheCounts, RangeCache, RangeKey

MIB = 1 << 20


def key(number: int = 0, length: int = 1000, version: str = "v1") -> RangeKey:
    return RangeKey("s3://lake", f"part-{number}.parquet", version, 0, length)


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def entry(folder: Path) -> Path:
    (found,) = [path for path in folder.rglob("*") if path.is_file() and path.name != "lock"]
    return found


def test_what_is_kept_is_found_and_counted(tmp_path: Path) -> None:
    cache = RangeCache(str(tmp_path), MIB)
    assert cache.get(key()) is None
    before = cache.counts

    assert cache.put(key(), b"x" * 1000)
    assert cache.get(key()) == b"x" * 1000

    assert cache.counts.since(before) == CacheCounts(
        hits=1, hit_bytes=1000, misses=1, miss_bytes=1000
    )


def test_another_version_or_range_of_an_object_is_another_entry(tmp_path: Path) -> None:
    cache = RangeCache(str(tmp_path), MIB)
    cache.put(key(), b"x" * 1000)

    assert cache.get(key(version="v2")) is None
    assert cache.get(key(length=999)) is None
    assert cache.get(RangeKey("s3://lake", "part-0.parquet", "v1", 1, 1000)) is None
    assert cache.get(RangeKey("s3://lake2", "part-0.parquet", "v1", 0, 1000)) is None


def test_it_keeps_to_its_limit_and_lets_go_of_what_was_not_used_for_the_longest(
    tmp_path: Path,
) -> None:
    cache = RangeCache(str(tmp_path), MIB)
    data = bytes(10_000)
    for number in range(300):
        cache.put(key(number, len(data)), data)
        # The first one is asked for all the time; the clock of a file system is coarse.
        path = tmp_path / key(number, len(data)).name
        os.utime(path, (number, number))
        os.utime(tmp_path / key(0, len(data)).name)
        assert size_of(tmp_path) <= MIB

    assert cache.get(key(0, len(data))) == data
    assert cache.get(key(1, len(data))) is None
    assert cache.get(key(299, len(data))) == data


def test_a_smaller_limit_holds_from_the_first_entry_on(tmp_path: Path) -> None:
    large = RangeCache(str(tmp_path), 10 * MIB)
    for number in range(100):
        large.put(key(number, 50_000), bytes(50_000))

    RangeCache(str(tmp_path), MIB).put(key(1000, 50_000), bytes(50_000))

    assert size_of(tmp_path) <= MIB


def test_what_is_large_for_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = RangeCache(str(tmp_path), MIB)

    assert not cache.put(key(0, MIB // 4), bytes(MIB // 4))


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow", "text"])
def test_a_damaged_entry_is_not_served_and_goes(tmp_path: Path, damage: str) -> None:
    cache = RangeCache(str(tmp_path), MIB)
    cache.put(key(), b"x" * 1000)
    path = entry(tmp_path)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-7] ^= 1
    damaged = {
        "flip": bytes(data),
        "cut": bytes(data[:-1]),
        "empty": b"",
        "grow": bytes(data) + b"x",
        "text": b"\n",
    }
    path.write_bytes(damaged[damage])

    assert cache.get(key()) is None

    assert cache.counts.corrupt == 1
    assert not path.exists()
    assert cache.put(key(), b"x" * 1000)
    assert cache.get(key()) == b"x" * 1000


def test_a_folder_that_cannot_be_costs_the_caching_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = RangeCache(str(tmp_path / "file" / "cache"), MIB)

    assert not cache.put(key(), b"x" * 1000)
    assert not cache.put(key(1), b"x" * 1000)
    assert cache.get(key()) is None
    assert (cache.counts.refused, cache.counts.misses) == (2, 2)


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes do not fit: no entry, no leftover, a pause, and then it is tried again."""
    cache = RangeCache(str(tmp_path), MIB)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert not cache.put(key(), b"x" * 1000)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["lock"]
    for number in range(99):
        assert not cache.put(key(number), b"x" * 1000)
    assert cache.put(key(), b"x" * 1000)


def test_what_a_dead_writer_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    folder = tmp_path / "ab"
    folder.mkdir()
    old, new = folder / ".~ro-old", folder / ".~ro-new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1.0, 1.0))

    RangeCache(str(tmp_path), MIB).put(key(), b"x" * 1000)

    assert (old.exists(), new.exists()) == (False, True)


def _use(folder: str, first: int) -> int:
    cache = RangeCache(folder, MIB)
    wrong = 0
    for number in range(first, first + 200):
        data = bytes([number % 251]) * 5000
        cache.put(key(number % 120, 5000), bytes([number % 120 % 251]) * 5000)
        found = cache.get(key(number * 7 % 120, 5000))
        wrong += found is not None and found != bytes([number * 7 % 120 % 251]) * 5000
        del data
    return wrong + cache.counts.corrupt


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    """They write, read and remove the same entries; nobody sees half of one."""
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        wrong = pool.starmap(_use, [(str(tmp_path), 0), (str(tmp_path), 50), (str(tmp_path), 90)])

    assert wrong == [0, 0, 0]
    assert size_of(tmp_path) <= MIB + 3 * MIB // 64


def test_a_cache_has_one_name_whoever_uses_its_folder(tmp_path: Path) -> None:
    first, second = RangeCache(str(tmp_path / "a"), MIB), RangeCache(str(tmp_path / "a"), MIB)

    assert first.name() == second.name() == first.name()
    assert first.name() != RangeCache(str(tmp_path / "b"), MIB).name()
    assert len(first.name()) == 16


def test_a_cache_that_cannot_keep_anything_has_no_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert RangeCache(str(tmp_path / "file" / "cache"), MIB).name() == ""


def test_processes_that_name_a_cache_at_once_agree(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        names = pool.map(_name_of, [str(tmp_path / "new")] * 32)
    assert len(set(names)) == 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["name"]


def _name_of(folder: str) -> str:
    return RangeCache(folder, MIB).name()
