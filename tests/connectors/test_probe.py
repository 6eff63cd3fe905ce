import threading

import pytest

from connectors.errors import UnsafeStoreError
from connectors.probe import probe_exclusive_create, require_exclusive_create
from connectors.store import Created, Promises
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
