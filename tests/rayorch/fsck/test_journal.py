"""Whatever is done to an object of the journal is found and named, by a look and by a replay."""

import logging
import random

import pytest

from connectors.sealed import is_sealed, mended, sealed
from rayorch.core.invariants import durable_view
from rayorch.errors import JournalDamagedError, JournalNewerError
from rayorch.fsck.findings import Finding
from rayorch.ids import Epoch
from rayorch.journal.mark import MARK
from rayorch.journal.segment import FORMAT, decode_segment, encode_segment
from tests.rayorch import make
from tests.rayorch.fsck.desk import LOG, OTHER, SNAP, Desk, segment_key

SEEDS = 150


@pytest.fixture
def desk() -> Desk:
    return Desk().fill()


def named(findings: list[Finding], key: str) -> Finding:
    found = [each for each in findings if each.object == key]
    assert found, (key, findings)
    return found[0]


def test_a_whole_journal_has_no_findings(desk: Desk) -> None:
    look = desk.examine()

    assert look.examined.findings == []
    assert look.examined.is_whole
    assert (look.journal.segments, look.journal.snapshots) == (9, 1)
    assert durable_view(look.journal.machine) == durable_view(desk.driver.machine)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_flipped_bit_of_any_object_is_named(seed: int) -> None:
    """By a look, whatever it is of; by a replay, when it is of what the replay reads."""
    luck = random.Random(seed)
    desk = Desk().fill()
    snap = desk.keys(SNAP)[0]
    key = luck.choice([*desk.keys(LOG), snap, MARK])
    desk.flip(key, luck.randrange(len(desk.store.get(key)) * 8))

    named(desk.findings(), key)

    begin = int(snap.removeprefix(SNAP).partition("-")[0])
    if key == snap:
        assert durable_view(desk.folded()) == durable_view(desk.driver.machine)
    elif key == MARK or int(key.removeprefix(LOG)) > begin:
        with pytest.raises(JournalDamagedError, match=key):
            desk.folded()


def test_a_snapshot_that_is_passed_over_is_named(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    snap = desk.keys(SNAP)[0]
    desk.flip(snap, 4000)

    with caplog.at_level(logging.WARNING):
        desk.folded()

    assert snap in caplog.text
    assert "`rayorch fsck`" in caplog.text


@pytest.mark.parametrize("n", [7, 9])
@pytest.mark.parametrize("how", ["missing", "truncated", "empty", "of another journal"])
def test_a_spoilt_segment_is_named_wherever_it_is(desk: Desk, n: int, how: str) -> None:
    """Also the last one, which no segment after it misses."""
    key = segment_key(n)
    if how == "missing":
        desk.store.delete([key])
    elif how == "of another journal":
        prev = decode_segment(key, n, desk.store.get(key)).header.prev
        desk.store.put(key, encode_segment(n, Epoch(1), "x", prev, [make.event(make.resumed())]))
    else:
        desk.spoil(key, lambda data: data[:-9] if how == "truncated" else b"")

    finding = next(f for f in desk.findings() if f.severity == "damage")
    with pytest.raises(JournalDamagedError) as error:
        desk.folded()

    # A foreign segment with a right seal is found by the next one, or by the note of the end.
    places = {key, segment_key(n + 1)} if how == "of another journal" else {key}
    assert finding.object in places
    assert error.value.key in places


def test_segments_that_are_missing_at_the_end_are_counted(desk: Desk) -> None:
    """Nothing stands behind them: only the note of how far the log goes knows of them."""
    desk.store.delete([segment_key(8), segment_key(9)])

    finding = named(desk.findings(), segment_key(8))

    assert finding.what == "it is missing, and so are the 1 after it"
    with pytest.raises(JournalDamagedError, match=r"it is missing, but journal/mark.json exists"):
        desk.folded()


def test_damage_that_a_whole_snapshot_covers_is_harmless(desk: Desk) -> None:
    desk.store.delete([segment_key(2)])
    desk.spoil(segment_key(3), lambda data: data[:-4])

    findings = desk.findings()

    assert {f.severity for f in findings} == {"harmless"}
    assert "a whole snapshot covers it" in findings[0].what
    assert desk.examine().examined.is_whole


def test_what_is_lost_with_a_segment_is_said(desk: Desk) -> None:
    desk.spoil(segment_key(7), lambda data: data[: len(data) // 2])

    finding = named(desk.findings(), segment_key(7))

    assert finding.repair == ""
    lines = finding.advice.splitlines()
    assert lines[0] == "what happened behind segment 6 is not known for certain"
    assert f"begun since then: {OTHER}" not in lines
    assert f"not ended by then: {OTHER}" in lines
    assert "--salvage" in lines[-1]


def test_an_object_that_is_none_of_ours_is_left_over(desk: Desk) -> None:
    desk.store.put(f"{LOG}notes.txt", b"mine")

    assert named(desk.findings(), f"{LOG}notes.txt").severity == "leftover"
    desk.folded()


# --- a newer version ------------------------------------------------------------------------------


def newer(data: bytes, change: tuple[bytes, bytes]) -> bytes:
    """The same segment, as a later version would have written it."""
    line, _, body = data.partition(b"\n")
    blank = line[: line.rindex(b'"seal":"')] + b'"seal":""}'
    assert change[0] in blank + body
    blank, body = blank.replace(*change), body.replace(*change)
    return sealed(blank, body) + b"\n" + body


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            (b'"format":%d,"by":"0.1.0"' % FORMAT, b'"format":%d,"by":"7.2.0"' % (FORMAT + 1)),
            "written by rayorch 7.2.0",
        ),
        ((b'"type":"RunResumed"', b'"type":"RunTeleported"'), "RunTeleported"),
        ((b'"run":"hourly-1"', b'"moon":1,"run":"hourly-1"'), "moon"),
    ],
    ids=["format", "fact", "field"],
)
def test_a_journal_of_a_newer_version_is_refused_by_name(
    desk: Desk, change: tuple[bytes, bytes], said: str
) -> None:
    """Nothing of it is damaged, and what an older version does not know it must not skip."""
    desk.spoil(segment_key(9), lambda data: newer(data, change))
    desk.store.delete([MARK])

    for read in (desk.folded, desk.examine):
        with pytest.raises(JournalNewerError, match=said) as error:
            read()
        assert "pip install 'rayorch>=" in str(error.value)
        assert "nothing was changed" in str(error.value)


def test_a_newer_snapshot_is_refused_by_name(desk: Desk) -> None:
    line = b'"format":%d' % FORMAT
    desk.spoil(desk.keys(SNAP)[0], lambda data: newer_header(data, line))

    with pytest.raises(JournalNewerError, match="format 2"):
        desk.folded()


def newer_header(data: bytes, line: bytes) -> bytes:
    header, _, body = data.partition(b"\n")
    blank = header[: header.rindex(b'"seal":"')] + b'"seal":""}'
    return sealed(blank.replace(line, b'"format":2'), body) + b"\n" + body


def test_a_segment_of_the_first_version_is_read() -> None:
    """It names no format and no version, and its seal is over other bytes."""
    first = (
        b'{"n":1,"epoch":1,"nonce":"3f80e8af5518bbe1410a6c17d942e27b","kind":"fence","count":0,'
        b'"prev":"genesis","seal":"56c415eaefa7a506"}\n'
    )

    assert decode_segment(segment_key(1), 1, first).header.by == ""


# --- seals ----------------------------------------------------------------------------------------


def test_one_flipped_bit_is_found_again() -> None:
    whole = sealed(b'{"number":37,"seal":""}')
    spoilt = bytearray(whole)
    spoilt[5] ^= 16

    assert not is_sealed(bytes(spoilt))
    assert mended(bytes(spoilt), is_sealed) == (whole, 44)


def test_two_flipped_bits_are_not_guessed() -> None:
    spoilt = bytearray(sealed(b'{"number":37,"seal":""}'))
    spoilt[5] ^= 16
    spoilt[7] ^= 1

    assert mended(bytes(spoilt), is_sealed) is None
