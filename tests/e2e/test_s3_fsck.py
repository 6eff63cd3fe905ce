"""`fsck` of a home on a real S3 server: what is damaged there is found and mended there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import rayorch as ro
from connectors.errors import ConnectorError
from connectors.store import Store, open_store
from rayorch.clock import ManualClock, SystemClock
from rayorch.fsck.examine import examine
from rayorch.fsck.repair import repair
from rayorch.home import open_home
from rayorch.ids import new_nonce
from tests.cluster.drill import FILES
from tests.e2e.test_s3_run import FORMATS, Lake
from tests.s3_server import S3Server, running_s3

clock = SystemClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3-fsck")) as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Lake(tmp_path, server.url)


def flip(store: Store, key: str) -> bytes:
    """Change one bit of an object; return what it was."""
    was = store.get(key)
    store.put(key, was[:50] + bytes([was[50] ^ 4]) + was[51:])
    return was


@pytest.mark.parametrize("form", FORMATS)
def test_a_home_on_s3_is_examined_and_mended_where_it_is(lake: Lake, form: str) -> None:
    ro.run(lake.pipeline(form), home=lake.home, executor="in-process")
    home, out = open_home(lake.home), open_store(lake.out)
    whole = examine(home, clock).examined
    assert whole.findings == []
    assert (whole.looked.files, whole.looked.unsummed) == (FILES, 0)
    segment = [info.key for info in home.store.list("journal/log/")][3]
    data = next(info.key for info in out.list() if info.key.endswith(".parquet"))

    was = flip(home.store, segment)
    flip(out, data)
    out.put(f"{data.rpartition('/')[0]}/stray.parquet", b"x")
    found = examine(home, clock).examined
    mended = repair(home, clock, new_nonce)

    damaged = {each.object for each in found.findings if each.severity == "damage"}
    assert damaged == {segment, f"{lake.out}/{data}"}
    assert home.store.get(segment) == was
    assert {each.object for each in mended.findings if each.is_repaired} >= {segment}
    left = examine(home, clock).examined
    assert {each.object for each in left.findings if each.severity == "damage"} == {
        f"{lake.out}/{data}"
    }
    assert out.head(data) is not None, "what a reader can see was deleted"


@pytest.mark.parametrize("form", FORMATS)
def test_a_repair_ends_uploads_that_dead_writers_of_runs_that_are_over_left(
    lake: Lake, form: str
) -> None:
    """Two hours later: those of the home and of the closed run, and nobody else's."""
    ro.run(lake.pipeline(form), home=lake.home, executor="in-process")
    home, out = open_home(lake.home), open_store(lake.out)
    data = next(info.key for info in out.list() if info.key.endswith(".parquet"))
    folder, run = data.split("/")[:2]
    left = [
        out.open_output(f"{folder}/{run}/left.parquet"),
        home.store.open_output("runs/left.arrow"),
        out.open_output(f"{folder}/of-another-home/file.parquet"),
    ]
    for stream in left:
        stream.write(bytes(40 << 20))
    now = repair(home, clock, new_nonce)
    later = ManualClock(clock.now_s() + 7200)
    mended = repair(home, later, new_nonce)

    assert (now.unfinished, mended.unfinished) == (0, 2)
    assert mended.is_whole
    assert repair(home, later, new_nonce).unfinished == 0
    with pytest.raises(ConnectorError):
        left[0].close()
    left[2].close()
    assert out.head(f"{folder}/of-another-home/file.parquet") is not None
