import threading
from collections.abc import Iterable, Iterator

import pytest

from connectors.errors import UnsafeStoreError
from connectors.probe import probe_exclusive_create, probe_reads, require_exclusive_create
from connectors.store import Created, ObjectInfo, Promises
from connectors.stores.memory import MemoryStore

CONTENDERS = 4


class LookThenWrite(MemoryStore):
    """What fsspec's base class does: all contenders look, then all write."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.looked = threading.Barrier(CONTENDERS)

    def put_if_absent(self, key: str, data: bytes) -> Created:
        if self.head(key) is not None:
            return "occupied"
        self.looked.wait(10)
        self.put(key, data)
        return "won"


class Overwriting(MemoryStore):
    """Gives a taken key away, as a server does that ignores the condition."""

    def put_if_absent(self, key: str, data: bytes) -> Created:
        self.put(key, data)
        return "occupied" if data.startswith(b"late") else super().put_if_absent(key, data)


class LosingBytes(MemoryStore):
    """One winner, but its bytes are not what the key holds."""

    def put_if_absent(self, key: str, data: bytes) -> Created:
        outcome = super().put_if_absent(key, data)
        self.put(key, b"other")
        return outcome


class OldBytes(MemoryStore):
    """Keeps what it has got once, as a cache does that nobody tells of writes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes:
        if key not in self.kept:
            self.kept[key] = super().get(key)
        return self.kept[key]


class OldHeads(MemoryStore):
    """Keeps also that there was nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.kept: dict[str, ObjectInfo | None] = {}

    def head(self, key: str) -> ObjectInfo | None:
        if key not in self.kept:
            self.kept[key] = super().head(key)
        return self.kept[key]


class OldLists(MemoryStore):
    """Keeps listings, as s3fs does unless it is told not to."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.kept: dict[str, list[ObjectInfo]] = {}

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        if prefix not in self.kept:
            self.kept[prefix] = list(super().list(prefix, after))
        return iter(self.kept[prefix])


class Undeleting(MemoryStore):
    """Says that it has deleted, and does so later."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.late: list[str] = []

    def delete(self, keys: Iterable[str]) -> None:
        super().delete(self.late)
        self.late = list(keys)


def test_a_second_client_sees_all_of_a_sound_store_and_leaves_it_as_it_was() -> None:
    store = MemoryStore("reads-sound")
    store.put("kept", b"x")

    report = probe_reads(store, rounds=2)

    assert report.stale == ()
    assert report.looks == 20
    assert [info.key for info in store.list()] == ["kept"]


@pytest.mark.parametrize(
    ("second", "stale"),
    [
        (
            OldBytes("reads-old"),
            ("a get of an object that was overwritten is not of now",),
        ),
        (
            OldHeads("reads-old"),
            (
                "a head of a new object is not of now",
                "a head of an object that was overwritten is not of now",
            ),
        ),
        (OldLists("reads-old"), ("a list of a new object is not of now",)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, MemoryStore) else "",
)
def test_a_client_that_answers_from_what_it_keeps_is_caught_and_told_where(
    second: MemoryStore, stale: tuple[str, ...]
) -> None:
    store = MemoryStore("reads-old")

    report = probe_reads(store, second)

    assert report.stale == stale
    assert list(store.list()) == [], "also a failed probe leaves nothing"


def test_a_store_that_shows_what_was_deleted_is_caught() -> None:
    report = probe_reads(Undeleting("reads-late"), MemoryStore("reads-late"), rounds=1)

    assert report.stale == (
        "a head of an object that was deleted is not of now",
        "a list of an object that was deleted is not of now",
    )


def test_a_sound_store_passes_and_is_left_as_it_was() -> None:
    store = MemoryStore("probe-sound")
    store.put("kept", b"x")

    report = probe_exclusive_create(store, CONTENDERS)

    assert report.atomic
    assert (report.rounds, report.contenders) == (5, CONTENDERS)
    assert [info.key for info in store.list()] == ["kept"]


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (LookThenWrite("probe-look"), "4 of 4 contenders won"),
        (LosingBytes("probe-bytes"), "does not hold the winner's bytes"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, MemoryStore) else "",
)
def test_a_store_that_cheats_is_caught_and_told_how(store: MemoryStore, reason: str) -> None:
    report = probe_exclusive_create(store, CONTENDERS)

    assert not report.atomic
    assert reason in report.reason
    assert list(store.list()) == [], "also a failed probe leaves nothing"


def test_a_store_that_gives_a_taken_key_away_is_caught() -> None:
    report = probe_exclusive_create(Overwriting("probe-over"), contenders=1)

    assert report.reason == "a taken key was given away again"


def test_a_store_that_promises_nothing_and_fails_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = LookThenWrite("probe-refused")
    nothing = Promises(exclusive_create=False, read_after_write=True, durable=False, note="")
    monkeypatch.setattr(store, "promises", nothing)
    store.looked = threading.Barrier(8)

    with pytest.raises(UnsafeStoreError, match="8 of 8 contenders won"):
        require_exclusive_create(store)
