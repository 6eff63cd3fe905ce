"""An exchange whose files lie on a real S3 server: its requests, and a file that is lost."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import rayorch as ro
from connectors.store import ObjectInfo, OutputStream, Store, open_store
from rayorch import client
from rayorch.client import Connection, LocalControl
from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished
from rayorch.home import Home
from rayorch.observe.view import RunView
from rayorch.settings import Settings
from rayorch.sim.store import UnsureStore
from tests.cluster.drill import FILES, ROWS
from tests.e2e.test_s3_run import Lake, doubled
from tests.rayorch.exchanges import events_of, exchange_keys
from tests.s3_server import S3Server, running_s3

PARTS = 6
LOST = "stage-1-1.msgpack"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3-exchange")) as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Lake(tmp_path, server.url)


class CountingStore(UnsureStore):
    """Counts what is asked of exchange files, and may lose one when a stage has been planned."""

    def __init__(self, store: Store, *, loses: bool = False) -> None:
        super().__init__(store, self._before_create)
        self.requests: Counter[str] = Counter()
        self._loses = loses

    def _before_create(self, key: str) -> None:
        if self._loses and key.endswith(LOST):
            super().delete(exchange_keys(self._store)[:1])

    def _count(self, what: str, key: str) -> None:
        if "/exchange/" in key:
            self.requests[what] += 1

    def get(self, key: str) -> bytes:
        self._count("get", key)
        return super().get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        self._count("get_range", key)
        return super().get_range(key, start, length)

    def put(self, key: str, data: bytes) -> ObjectInfo:
        self._count("write", key)
        return super().put(key, data)

    def head(self, key: str) -> ObjectInfo | None:
        self._count("head", key)
        return super().head(key)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        self._count("list", prefix)
        return super().list(prefix, after)

    def open_output(self, key: str) -> OutputStream:
        self._count("write", key)
        return super().open_output(key)

    def delete(self, keys: Iterable[str]) -> None:
        doomed = [*keys]
        self.requests["deleted"] += sum("/exchange/" in key for key in doomed)
        super().delete(doomed)


def run_on(lake: Lake, store: CountingStore) -> tuple[RunView, Counter[int]]:
    """Run a pipeline with an exchange; return how it went, and how often each task finished."""
    pipeline = ro.Pipeline("lake")
    rows = pipeline.read("rows", f"{lake.rows}/*.parquet", split="file")
    mixed = rows.repartition("mixed", by="id", parts=PARTS)
    mixed.map(doubled, output="mapped").write(lake.out, format="parquet")
    clock = SystemClock()
    at = Connection(Home(store), clock, Settings(home=lake.home, executor="in-process"))
    with closing(LocalControl(at.home, clock, 2)) as control:
        run = client.submit_run(at, control, pipeline)
        *_, view = client.follow(at, control, run)
    finished = [e.fact.task for e in events_of(at.home) if isinstance(e.fact, AttemptFinished)]
    return view, Counter(finished)


def check_rows(lake: Lake) -> None:
    table = ro.read(lake.out).to_table().sort_by("id")
    assert table["id"].to_pylist() == list(range(FILES * ROWS))
    assert table["double"].to_pylist() == [2 * i for i in range(FILES * ROWS)]


def test_an_exchange_asks_its_store_for_each_file_once_a_task(lake: Lake) -> None:
    store = CountingStore(open_store(lake.home))

    view, finished = run_on(lake, store)

    assert view.state == "succeeded", view.error
    check_rows(lake)
    assert finished == dict.fromkeys(range(FILES + PARTS), 1)
    assert store.requests["write"] == FILES
    assert store.requests["get_range"] <= FILES * PARTS
    assert store.requests["get"] == store.requests["head"] == 0
    assert store.requests["list"] <= 2, "once when its stage has committed, once by the sweep"
    assert store.requests["deleted"] == FILES
    assert not exchange_keys(store)


def test_a_file_that_is_gone_from_the_bucket_is_made_again(lake: Lake) -> None:
    """Protection: the reader names the file, and its writer's commit is taken back."""
    store = CountingStore(open_store(lake.home), loses=True)

    view, finished = run_on(lake, store)

    assert view.state == "succeeded", view.error
    check_rows(lake)
    assert sorted(finished.values()) == [1] * (FILES + PARTS - 1) + [2]
    assert not exchange_keys(store)
