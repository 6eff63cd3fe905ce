"""A segment is read back as it was written, or found damaged and named."""

import msgspec
import pytest

from rayorch.core.facts import FACT_KINDS, Event, RunSubmitted, is_durable
from rayorch.core.machine import Machine
from rayorch.core.run import Snapshot
from rayorch.errors import JournalDamagedError
from rayorch.ids import DEFAULT_TENANT, Epoch, RunId
from rayorch.journal.segment import GENESIS, decode_segment, encode_segment
from rayorch.journal.snapshot import decode_snapshot, encode_snapshot
from tests.rayorch import make
from tests.rayorch.driver import Driver

KEY = "journal/log/00000000000000000007"


def events() -> list[Event]:
    """One of every durable kind."""
    facts = [make.fact(kind) for kind in FACT_KINDS]
    return [make.event(fact, i, 0.5) for i, fact in enumerate(facts) if is_durable(fact)]


def segment(some: list[Event] | None) -> bytes:
    return encode_segment(7, Epoch(5), "nonce", GENESIS, some)


def test_every_durable_fact_survives_the_journal() -> None:
    found = decode_segment(KEY, 7, segment(events()))

    assert list(found.events) == events()
    assert (found.header.kind, found.header.epoch, found.header.prev) == ("data", 5, GENESIS)


def test_a_fence_has_no_events() -> None:
    found = decode_segment(KEY, 7, segment(None))

    assert (found.header.kind, found.events) == ("fence", ())


def test_the_same_events_give_the_same_bytes() -> None:
    assert segment(events()) == segment(events())


def test_text_may_hold_anything() -> None:
    """A line feed or a separator of lines in an error message must not part an event in two."""
    text = "line one\nline two\r\u2028\x85 \x1c ☃ \x00"
    some = [make.event(make.failed(make.Lease(), message=text))]

    assert list(decode_segment(KEY, 7, segment(some)).events) == some


@pytest.mark.parametrize("some", [None, events()[:2]], ids=["fence", "data"])
def test_any_flipped_bit_is_found(some: list[Event] | None) -> None:
    """In the header, too: a flipped epoch would make the segment void, and lose it silently."""
    data = segment(some)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            with pytest.raises(JournalDamagedError, match=KEY):
                decode_segment(KEY, 7, bytes(flipped))


def test_any_truncation_is_found() -> None:
    data = segment(events()[:2])
    for length in range(len(data)):
        with pytest.raises(JournalDamagedError, match=KEY):
            decode_segment(KEY, 7, data[:length])


def test_another_number_is_found() -> None:
    with pytest.raises(JournalDamagedError, match="segment 7"):
        decode_segment("journal/log/8", 8, segment(None))


def snapshot() -> bytes:
    driver = Driver()
    driver.start(3)
    driver.tick()
    return encode_snapshot(9, Epoch(5), "before", driver.machine.snapshot())


def test_a_snapshot_survives_its_bytes() -> None:
    found = decode_snapshot("s", snapshot())

    machine = Machine()
    machine.restore(found.state)
    assert (found.n, found.epoch, found.prev) == (9, 5, "before")
    assert len(machine.runs[make.RUN].tasks) == 3


def test_any_flipped_bit_of_a_snapshot_is_found() -> None:
    data = snapshot()
    for at in range(len(data)):
        flipped = bytearray(data)
        flipped[at] ^= 4
        with pytest.raises(JournalDamagedError, match="snapshot-key"):
            decode_snapshot("snapshot-key", bytes(flipped))


def test_a_run_that_was_journaled_before_there_were_tenants_is_the_default_tenants() -> None:
    """The lines are those of a journal of that time: what it says now must not change."""
    written = (
        '{"type":"RunSubmitted","run":"r","pipeline":"p","version":"v",'
        '"stages":[{"name":"lines"}],"sinks":["out"]}'
    )
    machine = Machine()

    machine.handle(make.event(msgspec.json.decode(written, type=RunSubmitted)))

    run = machine.runs[RunId("r")]
    assert (run.tenant, run.priority) == (DEFAULT_TENANT, 0)
    assert msgspec.json.encode(RunSubmitted(RunId("r"), "p", "v", (), ())).find(b"tenant") == -1


def structs_of(kind: type) -> dict[str, type[msgspec.Struct]]:
    """Every struct that a kind of value is made of."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting: list[msgspec.inspect.Type] = [msgspec.inspect.type_info(kind)]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                continue
            found[info.cls.__name__] = info.cls
            waiting += [field.type for field in info.fields]
        for name in ("types", "item_types"):
            waiting += getattr(info, name, ())
        for name in ("item_type", "key_type", "value_type"):
            if hasattr(info, name):
                waiting.append(getattr(info, name))
    return found


@pytest.mark.parametrize("kind", [Event, Snapshot])
def test_nothing_that_the_journal_keeps_reads_past_what_it_does_not_know(kind: type) -> None:
    """A field that a later version added would be lost by an older one, and by its next snapshot.

    Arrays are told by their length, which msgspec does not refuse: the one that there is must not
    grow without a new format.
    """
    structs = structs_of(kind)
    lax = {
        name for name, each in structs.items() if not each.__struct_config__.forbid_unknown_fields
    }

    assert len(structs) > 10
    assert lax == ({"Event"} if kind is Event else set())
    assert Event.__struct_fields__ == ("id", "at_s", "fact")
