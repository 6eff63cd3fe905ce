"""Tenants and limits on real runners: who waits for whom, and what an outside resource sees."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from statistics import median

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch import client
from rayorch.core.facts import AttemptFinished, RunCancelRequested
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Limit, Policy
from rayorch.host.ray_control import RayControl
from rayorch.ids import RunId
from rayorch.plan.pool_files import parse_pools
from rayorch.wanted import asked_of
from tests.cluster.drill import Drill
from tests.cluster.functions import meets, notes_starts, visits
from tests.cluster.raylets import machine_spec, machines_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]

SLOTS = 10
LIMIT = 8
LATE = 10
TASK_S = 6.0
START_S_MAX = 240.0
POOLS = parse_pools("pools: [{name: many, vcpu: 10, memory: 64 GiB, usd_h: 1.0}]", "p")


class Database(ThreadingTCPServer):
    """An outside resource that knows how many are at work on it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.lock = threading.Lock()
        self.now = self.most = self.visits = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Visit(BaseRequestHandler):
    """One task's call: it is at work until it says that it is done."""

    def handle(self) -> None:
        database = self.server
        assert isinstance(database, Database)
        with database.lock:
            database.now += 1
            database.visits += 1
            database.most = max(database.most, database.now)
        self.request.sendall(b"+")
        while self.request.recv(64):
            pass
        with database.lock:
            database.now -= 1
        self.request.sendall(b"-")


@pytest.fixture
def database() -> Iterator[Database]:
    with Database() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def control(shared_drill: Drill) -> Iterator[RayControl]:
    """A control actor, and a machine with more runners, all up, than the limit has units."""
    drill, folder = shared_drill, shared_drill.folder
    address = drill.at.settings.ray_address
    assert address is not None
    # First of all: it is to live on the head, and not to go with the machine.
    control = drill.control()
    with machines_of(address, [machine_spec("many", SLOTS)], folder):
        (folder / "met").mkdir()
        meeting = meets(folder / "met", SLOTS)
        run = submit(drill, control, pipeline_of("first", SLOTS, meeting, folder))
        *_, view = client.follow(drill.at, control, run)
        assert view.state == "succeeded", view.error
        yield control


def test_who_comes_late_waits_for_tasks_and_not_for_a_queue(
    shared_drill: Drill, control: RayControl, tmp_path: Path
) -> None:
    """One tenant has 10,000 tasks queued and all runners; another submits 10.

    The last of these begins within two lengths of a task, as its part is half of the runners: five
    begin as tasks of the first one end, and five more as those do.
    """
    drill = shared_drill
    flood, late = tmp_path / "flood", tmp_path / "late"
    flood.mkdir()
    late.mkdir()
    noting = notes_starts(flood, TASK_S, SLOTS)
    a = submit(drill, control, pipeline_of("flood", 10_000, noting, tmp_path))
    drill.wait_until(lambda: len(starts(flood)) >= 2 * SLOTS, "all runners at work", START_S_MAX)

    submitted_s = drill.clock.now_s()
    noting = notes_starts(late, TASK_S, 1)
    b = submit(drill, control, pipeline_of("late", LATE, noting, tmp_path))
    drill.wait_until(lambda: len(starts(late)) == LATE, "the last of them begun", 60.0)
    control.submit([RunCancelRequested(a)])
    drill.follow(control, b)

    facts = [event.fact for event in drill.events()]
    finished = [f for f in facts if isinstance(f, AttemptFinished) and f.run == b]
    length_s = median(fact.output.seconds.total_s for fact in finished)
    assert max(starts(late)) - submitted_s <= 2.0 * length_s


def test_no_more_tasks_are_at_work_on_an_outside_resource_than_it_allows(
    shared_drill: Drill, control: RayControl, database: Database, tmp_path: Path
) -> None:
    """500 tasks of two tenants' runs against a database that allows 8, as it counts itself."""
    drill = shared_drill
    control.submit([PolicyApplied(Policy(limits=(Limit("orders-db", LIMIT),)))])

    visiting = visits(database.port)
    runs = [
        submit(drill, control, pipeline_of(name, 250, visiting, tmp_path, uses={"orders-db": 1}))
        for name in ("visits-a", "visits-b")
    ]
    for run in runs:
        assert drill.follow(control, run).state == "succeeded"

    assert database.visits >= 500
    assert database.now == 0
    assert LIMIT // 2 < database.most <= LIMIT


def submit(drill: Drill, control: RayControl, pipeline: ro.Pipeline) -> RunId:
    return client.submit_run(drill.at, control, pipeline, asked=asked_of(None, POOLS))


def pipeline_of(
    name: str,
    tasks: int,
    function: Callable[[pa.Table], pa.Table],
    folder: Path,
    uses: Mapping[str, int] | None = None,
) -> ro.Pipeline:
    """Return a pipeline of one map, of a tenant of its own."""
    pipeline = ro.Pipeline(name, tenant=name)
    rows = pipeline.read("rows", f"range://{tasks}?splits={tasks}")
    mapped = pipeline.map(rows, output="mapped", uses=uses)(function)
    mapped.write((folder / f"out-{name}").as_uri(), format="parquet")
    return pipeline


def starts(notes: Path) -> list[float]:
    """When each task began that did so far, for the first time, on the wall clock."""
    begun: dict[str, float] = {}
    for note in notes.iterdir():
        at_s, _, row = note.name.partition("-")
        begun[row] = min(float(at_s), begun.get(row, math.inf))
    return list(begun.values())
