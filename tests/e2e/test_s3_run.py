"""Whole runs with home, input and output on a real S3 server, which is slow, silent or lossy."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from connectors.store import open_store
from rayorch import client
from rayorch.client import LocalControl, connection
from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished, Event, SinkPublished
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView
from tests.cluster.drill import FILES, PIPELINE, ROWS, kill_tree, start_cli, write_input
from tests.connectors.stores.lossy_proxy import LossyProxy, lossy_proxy
from tests.s3_server import S3Server, running_s3

FORMATS = ("delta", "parquet")
WAIT_S = 90.0
SILENCE_S = 4.0
clock = SystemClock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3-run")) as running:
        yield running


class Lake:
    """A home, an input of known content and an output, each under a prefix of its own."""

    def __init__(self, folder: Path, bucket: str) -> None:
        self.folder = folder
        root = f"{bucket}/{new_nonce()}"
        self.home, self.rows, self.out = f"{root}/a home", f"{root}/in", f"{root}/out"
        write_input(folder / "in")
        store = open_store(self.rows)
        for path in sorted((folder / "in").iterdir()):
            store.put(path.name, path.read_bytes())

    def pipeline(
        self, form: str, function: Callable[[pa.Table], pa.Table] | None = None
    ) -> ro.Pipeline:
        pipeline = ro.Pipeline("lake")
        rows = pipeline.read("rows", f"{self.rows}/*.parquet", split="file")
        pipeline.map(rows, output="mapped")(function or doubled).write(self.out, format=form)
        return pipeline

    def file(self, gate: Path, passes: int, form: str) -> Path:
        """Write the pipeline as a file, its map waiting for the gate."""
        text = PIPELINE.format(
            rows=f"{self.rows}/*.parquet", out=self.out, gate=gate, passes=passes
        )
        path = self.folder / "pipeline.py"
        path.write_text(text.replace('format="parquet"', f'format="{form}"'))
        return path

    def events(self) -> list[Event]:
        found: list[Event] = []
        Journal(open_store(self.home), clock, new_nonce).replay(found.append)
        return found

    def committed(self) -> list[int]:
        return [e.fact.task for e in self.events() if isinstance(e.fact, AttemptFinished)]

    def check(self) -> None:
        """Each row once, each task committed once, each sink published once, nothing left over."""
        table = ro.read(self.out).to_table().sort_by("id")
        assert table["id"].to_pylist() == list(range(FILES * ROWS))
        assert table["double"].to_pylist() == [2 * i for i in range(FILES * ROWS)]
        events = self.events()
        assert Counter(self.committed()) == Counter(range(FILES))
        assert len([e for e in events if isinstance(e.fact, SinkPublished)]) == 1
        assert len({event.id for event in events}) == len(events)
        staged = [i.key for i in open_store(self.out).list() if i.key.endswith(".parquet")]
        assert len(staged) == FILES, "files that no commit names were left"


def doubled(table: pa.Table) -> pa.Table:
    return table.append_column("double", pc.multiply(table["id"], 2))


@pytest.fixture
def lake(tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Lake(tmp_path, server.url)


def followed(control: LocalControl, lake: Lake, run: RunId) -> RunView:
    begun_s = clock.monotonic_s()
    for view in client.follow(connection(lake.home, "in-process"), control, run):
        assert clock.monotonic_s() - begun_s < WAIT_S, view
    assert view.state == "succeeded", view.error
    return view


def begun(lake: Lake, pipeline: ro.Pipeline) -> tuple[LocalControl, RunId]:
    at = connection(lake.home, "in-process")
    control = LocalControl(at.home, at.clock, 2)
    return control, client.submit_run(at, control, pipeline)


def wait_until(holds: Callable[[], object], what: str) -> None:
    begun_s = clock.monotonic_s()
    while not holds():
        assert clock.monotonic_s() - begun_s < WAIT_S, f"never happened: {what}"
        clock.sleep(0.1)


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_reads_and_writes_s3(lake: Lake, form: str) -> None:
    report = client.run(lake.pipeline(form), home=lake.home, executor="in-process", display=None)

    assert report.rows_out == FILES * ROWS
    lake.check()


def test_a_second_run_reads_from_the_nodes_disk(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same input: nothing of it comes from the store again, and the bill says so."""
    monkeypatch.setenv("RAYORCH_CACHE_DIR", str(lake.folder / "cache"))
    seen = []
    for _ in range(2):
        control, run = begun(lake, lake.pipeline("parquet"))
        try:
            seen.append(followed(control, lake, run))
        finally:
            control.close()
    first, second = (view.cost for view in seen)

    assert first is not None
    assert second is not None
    (cold,), (warm,) = first.work, second.work
    # Two tasks of the first run may read one range: the second of them finds it there.
    assert cold.moved_bytes > cold.cached_bytes
    assert warm.moved_bytes == 0
    assert warm.cached_bytes == cold.moved_bytes + cold.cached_bytes
    assert ro.read(lake.out).to_table().num_rows >= FILES * ROWS


@pytest.mark.parametrize("form", FORMATS)
def test_a_killed_run_is_resumed_from_the_journal_on_s3(lake: Lake, form: str) -> None:
    """1. Some tasks commit, the others wait. 2. SIGKILL. 3. `resume` does the others, once."""
    gate = lake.folder / "gate"
    file = lake.file(gate, passes=4, form=form)
    where = ("--executor", "in-process", "--home", lake.home)
    first = start_cli(lake.folder, "run", str(file), *where)
    wait_until(lambda: len(lake.committed()) >= 4, "four tasks committed")

    kill_tree(first)
    before = lake.committed()
    gate.touch()
    again = start_cli(lake.folder, "resume", "last", *where)
    _, err = again.communicate(timeout=WAIT_S)

    assert again.returncode == 0, err
    assert 4 <= len(before) < FILES
    lake.check()


def test_a_store_that_falls_silent_for_a_while_only_costs_that_while(
    lake: Lake, server: S3Server
) -> None:
    gate = lake.folder / "gate"

    def waiting(table: pa.Table) -> pa.Table:
        while table["file"][0].as_py() >= 3 and not gate.exists():
            clock.sleep(0.01)
        return doubled(table)

    control, run = begun(lake, lake.pipeline("parquet", waiting))
    try:
        wait_until(lambda: control.view(run).committed >= 3, "three tasks committed")
        server.pause()
        try:
            gate.touch()
            clock.sleep(SILENCE_S)
            assert control.view(run).committed < FILES
        finally:
            server.resume()
        followed(control, lake, run)
    finally:
        control.close()

    lake.check()


@pytest.mark.parametrize("form", FORMATS)
def test_replies_that_are_lost_commit_nothing_twice(
    lake: Lake, server: S3Server, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has done what was asked, and nobody hears of it: journal, plan, table, files."""
    with lossy_proxy(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        check_losses(lake, form, proxy)


def check_losses(lake: Lake, form: str, proxy: LossyProxy) -> None:
    """Run while six replies are lost that the server has carried out."""
    control, run = begun(lake, lake.pipeline(form))
    try:
        proxy.to_lose = 6
        followed(control, lake, run)
    finally:
        control.close()
    assert proxy.lost == 6
    lake.check()


def test_an_embedded_ray_runs_on_s3(lake: Lake) -> None:
    gate = lake.folder / "gate"
    gate.touch()
    file = lake.file(gate, passes=0, form="delta")
    alone = {"RAY_ADDRESS": "", "XDG_STATE_HOME": str(lake.folder / "state")}

    process = start_cli(lake.folder, "run", str(file), "--home", lake.home, **alone)
    _, err = process.communicate(timeout=WAIT_S)

    assert process.returncode == 0, err
    lake.check()
