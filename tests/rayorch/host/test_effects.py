"""Slow work: what a plan, a publication, a comparison and a sweep answer, and what they say."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.dataset import read_dataset
from connectors.errors import StoreReadOnlyError, StoreUnavailableError
from connectors.sink import open_sink
from connectors.store import open_store
from connectors.stores.memory import MemoryStore
from rayorch.clock import ManualClock
from rayorch.core.commands import CompareSchemas, MakePlan, PublishSink, SweepRun
from rayorch.core.facts import (
    Fact,
    PlacementReady,
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunFailed,
    RunSwept,
    SinkPublished,
)
from rayorch.core.run import Run, RunState
from rayorch.core.values import SinkResult
from rayorch.host import effects as effects_module
from rayorch.host.effects import PUBLISH_TRIES_MAX, Effects
from rayorch.ids import EventId, RunId, TaskId
from rayorch.plan.planner import make_plan
from rayorch.program import dump_program
from tests.rayorch import make as core_make
from tests.rayorch.host.make import RUN, VERSION, Rig, leading

CAUSE = EventId(7)


class Work:
    """Effects over a home in memory, and what they answer."""

    def __init__(self, source: str, sink_url: str) -> None:
        self.rig = Rig(clock=ManualClock())
        self.rig.sink_url = sink_url
        self.program = self.rig.program(source)
        self.rig.home.put_program(RUN, VERSION, dump_program(self.program))
        self.run = Run(
            RUN, "nightly", VERSION, "", (), (sink_url,), core_make.RETRY, submitted_s=0.0
        )
        self.answers: list[Fact] = []
        self._answered = threading.Semaphore(0)
        self.effects = Effects(self.rig.home, self.rig.executor, self._answer, self.rig.clock)

    def _answer(self, facts: Sequence[Fact]) -> None:
        self.answers.extend(facts)
        self._answered.release()

    def do(self, command: Any) -> Any:
        """Carry out a command and return the fact that answers it."""
        self.effects.start(command, self.run)
        return self.wait()

    def wait(self) -> Any:
        assert self._answered.acquire(timeout=30)
        return self.answers[-1]

    def stage(self, ids: list[int], task: int = 0, schema: pa.Schema | None = None) -> None:
        """Have an attempt of a task write rows, as a runner does, and commit it."""
        sink = open_sink(self.program.sinks[0])
        writer = sink.open_writer(f"0-{task:07d}-0-1", run=RUN)
        writer.write(pa.table({"id": ids}, schema=schema))
        output = writer.close()
        payload = msgspec.json.encode(output).decode()
        result = SinkResult(0, output.rows, output.size_bytes, output.schema_fp, payload)
        self.run.outputs[task] = (result,)


@pytest.fixture
def work(request: pytest.FixtureRequest) -> Iterator[Work]:
    made = Work("range://40?splits=4", f"memory://effects-{request.node.name}")
    yield made
    made.effects.close()


PUBLISH = PublishSink(CAUSE, RUN, 0, 7)


def test_a_plan_is_kept_under_the_home_with_what_was_found(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2, 3]}), tmp_path / "a.parquet")
    work = Work(tmp_path.as_uri(), "memory://effects-plan")

    ready = work.do(MakePlan(CAUSE, RUN))

    assert isinstance(ready, PlanReady)
    assert (ready.task_counts, ready.files) == ((1,), 1)
    assert len(work.rig.home.get_plan(RUN).split_of()) == 1
    (inputs,) = work.rig.home.get_json(RUN, "inputs").values()
    assert inputs[0]["url"].endswith("a.parquet")
    assert inputs[0]["size_bytes"] == (tmp_path / "a.parquet").stat().st_size


def test_a_source_without_a_match_says_so_and_names_it(tmp_path: Path) -> None:
    work = Work(f"{tmp_path}/*.parquet", "memory://effects-nothing")

    failed = work.do(MakePlan(CAUSE, RUN))

    assert isinstance(failed, PlanFailed)
    assert str(tmp_path) in failed.error.message
    assert failed.error.error_type == "NoFilesError"
    assert failed.error.kind == "refused"


def test_a_corrupt_file_says_so_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 is not enough")
    work = Work(tmp_path.as_uri(), "memory://effects-corrupt")

    failed = work.do(MakePlan(CAUSE, RUN))

    assert isinstance(failed, PlanFailed)
    assert "a.parquet" in failed.error.message


def test_a_run_is_planned_by_one_planner_at_a_time(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped and resumed while the first works: a second would put its plan under our tasks."""
    begun, go_on, calls = threading.Event(), threading.Event(), []
    real = make_plan

    def slow(*arguments: Any) -> Any:
        calls.append(1)
        begun.set()
        assert go_on.wait(10.0)
        return real(*arguments)

    monkeypatch.setattr(effects_module, "make_plan", slow)
    work.effects.start(MakePlan(CAUSE, RUN), work.run)
    assert begun.wait(10.0)
    work.effects.start(MakePlan(CAUSE, RUN), work.run)
    go_on.set()
    work.wait()

    assert [type(fact) for fact in work.answers] == [PlacementReady, PlanReady]
    assert calls == [1]
    work.do(MakePlan(CAUSE, RUN))
    assert calls == [1, 1]


def test_a_publication_makes_the_committed_rows_visible(work: Work) -> None:
    work.stage([1, 2], task=0)
    work.stage([3], task=1)

    done = work.do(PUBLISH)

    assert isinstance(done, SinkPublished)
    assert (done.rows, done.files) == (3, 2)
    assert done.how_to_read.startswith("rayorch.read(")
    assert sorted(read_dataset(work.rig.sink_url).to_table()["id"].to_pylist()) == [1, 2, 3]


def test_a_publication_that_is_asked_for_twice_happens_once(work: Work) -> None:
    """The next leader asks again for what the one before may have done."""
    work.stage([1])

    first, again = work.do(PUBLISH), work.do(PUBLISH)

    assert first == again
    assert len(list(open_store(work.rig.sink_url).list("_manifests/"))) == 1


def test_a_publication_that_fails_for_now_is_tried_again_later_and_later(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And in the end given up; who resumes the run gets all of the tries again."""
    work.stage([1])

    def refuse(_self: object, key: str, _data: bytes) -> str:
        raise StoreUnavailableError(work.rig.sink_url, key, "slow down")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "put_if_absent", refuse)
        for _ in range(2):
            failures = [work.do(PUBLISH) for _ in range(PUBLISH_TRIES_MAX)]
            pauses = [f.retry_at_s - work.rig.clock.now_s() for f in failures[:-1]]

            assert all(isinstance(failure, PublishFailed) for failure in failures)
            assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0]
            assert failures[-1].retry_at_s == 0.0
            assert failures[-1].error.kind == "transient"
    assert isinstance(work.do(PUBLISH), SinkPublished)


def test_a_publication_that_can_never_succeed_is_not_tried_again(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.stage([1])

    def refuse(_self: object, key: str, _data: bytes) -> str:
        raise StoreReadOnlyError(work.rig.sink_url, key, "read-only file system")

    monkeypatch.setattr(MemoryStore, "put_if_absent", refuse)

    failed = work.do(PUBLISH)

    assert failed.retry_at_s == 0.0
    assert "read-only file system" in failed.error.message
    assert failed.error.kind == "refused"


def test_schemas_that_cannot_be_one_name_the_output_and_the_column(work: Work) -> None:
    work.stage([1], task=0)
    work.stage([2], task=1, schema=pa.schema([("id", pa.timestamp("us"))]))

    failed = work.do(CompareSchemas(CAUSE, RUN, 0, (TaskId(0), TaskId(1))))

    assert isinstance(failed, RunFailed)
    said = failed.error.message
    assert said.startswith(f"the tasks that write {work.rig.sink_url} disagree about its columns")
    assert "id" in said
    assert "int64" in said
    assert "timestamp[us]" in said


def test_a_schema_conflict_fails_the_run_and_nothing_is_visible() -> None:
    rig = Rig()
    types = {0: pa.int64(), 1: pa.timestamp("us")}
    rig.executor.schema_of = lambda task: pa.schema([("id", types[task])])
    with leading(rig):
        rig.submit(tasks=2)
        run = rig.watch.wait_state(RunState.FAILED)

    assert run.error is not None
    assert "disagree about its columns" in run.error.message
    assert list(open_store(rig.sink_url).list("_manifests/")) == []


def test_a_sweep_deletes_orphans_of_its_run_and_nothing_else(work: Work) -> None:
    work.stage([1], task=0)
    kept = {info.key for info in open_store(work.rig.sink_url).list()}
    store = open_store(work.rig.sink_url)
    store.put(f"_data/{RUN}/0-0000000-1-1-00000.parquet", b"a lost attempt")
    store.put("_data/nightly-2/0-0000000-0-1-00000.parquet", b"another run")
    store.put("_manifests/00000000000000000001.json", b"{}")

    swept = work.do(SweepRun(CAUSE, RUN))

    assert swept == RunSwept(RUN, 1)
    assert {info.key for info in store.list()} == kept | {
        "_data/nightly-2/0-0000000-0-1-00000.parquet",
        "_manifests/00000000000000000001.json",
    }


def test_a_sweep_takes_what_dead_writers_left_half_written(tmp_path: Path) -> None:
    work = Work("range://10?splits=1", tmp_path.as_uri())
    store = open_store(str(tmp_path))
    mine = store.open_output(f"_data/{RUN}/0-0000000-1-1-00000.parquet")
    theirs = store.open_output("_data/nightly-2/0-0000000-0-1-00000.parquet")
    mine.write(b"x")
    theirs.write(b"x")
    assert len(list(tmp_path.rglob(".~ro-*"))) == 2

    swept = work.do(SweepRun(CAUSE, RUN))

    assert swept == RunSwept(RUN, 1)
    assert [path.parent.name for path in tmp_path.rglob(".~ro-*")] == ["nightly-2"]
    mine.abort()
    theirs.abort()


def test_a_sweep_that_fails_says_nothing_so_that_the_next_leader_sweeps(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: object, _keys: object) -> None:
        raise StoreUnavailableError(work.rig.sink_url, "", "slow down")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "delete", refuse)
        work.effects.start(SweepRun(CAUSE, RUN), work.run)
        work.effects._pool.shutdown(wait=True)

    assert work.answers == []


def test_a_bug_in_slow_work_fails_the_run_with_its_text(work: Work) -> None:
    """An answer that never comes would leave the run hanging."""
    missing = RunId("no-program")
    work.run = Run(missing, "x", VERSION, "", (), (), core_make.RETRY, submitted_s=0.0)

    failed = work.do(CompareSchemas(CAUSE, missing, 0, ()))

    assert isinstance(failed, RunFailed)
    assert failed.error.message
