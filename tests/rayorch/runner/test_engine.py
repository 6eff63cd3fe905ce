"""The runner as a whole: order, prefetch, revoke, drain, inventory, resume."""

import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from rayorch.core.facts import AttemptFinished, AttemptStarted, Fact, LeaseReturned
from rayorch.core.values import Held
from rayorch.home import decode_split
from rayorch.ids import Epoch, TaskId
from rayorch.program import MapCode
from rayorch.runner import pieces, programs
from rayorch.runner.batches import BATCH_BYTES_MIN
from rayorch.runner.capture import install_tee, remove_tee
from rayorch.runner.engine import RunnerEngine
from tests.rayorch.runner import make


class Gate:
    """A function's way to wait for the test, and to tell it that it was called."""

    def __init__(self) -> None:
        self.called = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)
        self.seen: list[int] = []

    def open(self, times: int = 1) -> None:
        """Let so many calls go on."""
        self.opened.release(times)

    def wait_for_call(self) -> None:
        """Wait until the function is inside."""
        assert self.called.acquire(timeout=30)


GATE = Gate()
"""Functions are pickled by reference: what they share with a test is their module's."""


@pytest.fixture(autouse=True)
def _new_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "GATE", Gate())


def gated(table: pa.Table) -> pa.Table:
    gate: Gate = sys.modules[__name__].GATE
    gate.seen.append(table["id"][0].as_py())
    gate.called.release()
    assert gate.opened.acquire(timeout=30)
    return table


def held(task: int, *, started: bool = False) -> Held:
    return Held(make.RUN, TaskId(task), 0, Epoch(1), started)


def returned(facts: list[Fact]) -> list[int]:
    return [fact.task for fact in facts if isinstance(fact, LeaseReturned)]


def test_leases_run_in_the_order_in_which_they_came() -> None:
    plan = make.planned(make.stage("range://40?splits=4", make.chain(gated)))
    control = make.Control()
    GATE.open(times=4)

    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases()[2:])
        runner.enqueue(plan.leases()[:2])
        control.ends(4)

    assert GATE.seen == [20, 30, 0, 10]


def test_leases_of_a_leader_that_was_superseded_are_dropped() -> None:
    """It may not know yet that another leads, who knows nothing of these and waits for no end."""
    plan = make.planned(make.stage("range://40?splits=4", make.chain(gated)))
    control = make.Control()
    GATE.open(times=4)
    late, first, second, _ = plan.leases()
    newer = [(replace(lease, epoch=Epoch(2)), split) for lease, split in (first, second)]

    with make.engine(plan, control) as runner:
        runner.enqueue(newer[:1])
        runner.enqueue([late])
        held_then = runner.inventory()
        runner.enqueue(newer[1:])
        control.ends(2)
        held_at_last = runner.inventory()

    assert GATE.seen == [10, 20]
    assert late[0].task not in {each.task for each in (*held_then, *held_at_last)}


def test_a_long_attempt_is_said_to_have_started_and_to_go_on() -> None:
    plan = make.planned(make.stage("range://10?splits=1", make.chain(gated)))
    control = make.Control()

    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases())
        facts = control.wait_for(lambda facts: len(facts) >= 3)
        GATE.open()
        control.ends(1)

    assert [type(fact).__name__ for fact in facts[:3]] == [
        "AttemptStarted",
        "AttemptProgressed",
        "AttemptProgressed",
    ]


def test_the_inventory_names_what_ended_runs_and_waits() -> None:
    """The control actor is gone: what ended meanwhile is still held, or it would be done again."""
    plan = make.planned(make.stage("range://40?splits=4", make.chain(gated)))
    control = make.Control()
    offering, is_back = threading.Event(), threading.Event()

    def offer(facts: list[Fact]) -> None:
        if any(isinstance(fact, AttemptFinished) for fact in facts):
            offering.set()
            assert is_back.wait(timeout=30)
        make.Control.offer(control, facts)

    control.offer = offer  # type: ignore[method-assign]
    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases())
        GATE.wait_for_call()
        assert runner.inventory() == (held(0, started=True), held(1), held(2), held(3))

        GATE.open()
        GATE.wait_for_call()
        assert runner.inventory() == (
            held(0, started=True),
            held(1, started=True),
            held(2),
            held(3),
        )
        GATE.open(times=3)
        assert offering.wait(timeout=30)
        is_back.set()
        control.ends(4)

    assert runner.inventory() == ()


def test_a_revoked_lease_comes_back_and_does_not_run() -> None:
    plan = make.planned(make.stage("range://30?splits=3", make.chain(gated)))
    control = make.Control()
    leases = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue(leases)
        GATE.wait_for_call()
        runner.revoke([leases[0][0], leases[2][0]])
        control.wait_for(lambda facts: returned(facts) == [2])
        GATE.open(times=2)
        control.ends(2)

    assert GATE.seen == [0, 10]
    assert returned(control.facts) == [2]


def test_a_started_lease_comes_back_at_its_next_batch_when_it_is_of_no_use() -> None:
    """Another try of its task was committed: what it would make is not wanted."""
    plan = make.planned(make.stage("range://1000000?splits=1", make.chain(gated)))
    control = make.Control()
    (lease,) = plan.leases()

    with make.engine(plan, control, memory_bytes=1 << 20) as runner:
        runner.enqueue([lease])
        GATE.wait_for_call()
        runner.revoke([lease[0]], halt=True)
        GATE.open()
        control.wait_for(lambda facts: returned(facts) == [0])
        assert runner.inventory() == ()

    assert len(GATE.seen) == 1
    assert not [fact for fact in control.facts if isinstance(fact, AttemptFinished)]


def test_an_attempt_that_is_cut_leaves_the_rest_of_its_numbers_to_others() -> None:
    plan = make.planned(make.stage("range://160000?splits=1", make.chain(gated)))
    control = make.Control()
    (lease,) = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue([lease])
        GATE.wait_for_call()
        runner.cut(lease[0])
        GATE.open(times=16)
        control.ends(1)

    (fact,) = [fact for fact in control.facts if isinstance(fact, AttemptFinished)]
    done, *rest = [decode_split(data) for data in fact.output.cut]
    assert (done.lo, rest[-1].hi) == (0, 160_000)
    assert fact.output.rows_in == done.hi == rest[0].lo
    assert [each.lo for each in rest[1:]] == [each.hi for each in rest[:-1]]


def test_an_attempt_is_cut_where_it_computes_though_all_is_read_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small split is in memory before its function has seen much of it."""
    monkeypatch.setattr(programs, "INLINE_BYTES_MAX", 0)
    monkeypatch.setattr(pieces, "PIECE_BYTES_MIN", 1)
    pq.write_table(pa.table({"id": range(9)}), tmp_path / "one.parquet", row_group_size=1)
    stage = make.stage(str(tmp_path / "*.parquet"), make.chain(gated), split="file")
    plan = make.planned(stage)
    control = make.Control()
    (lease,) = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue([lease])
        GATE.wait_for_call()
        running = runner._desk._running
        with runner._desk._work:
            assert running is not None
            assert runner._desk._work.wait_for(lambda: running.is_read, timeout=30)
        runner.cut(lease[0])
        GATE.open(times=9)
        control.ends(1)
        assert runner._desk._read_bytes == 0

    (fact,) = [fact for fact in control.facts if isinstance(fact, AttemptFinished)]
    done, *rest = [decode_split(data) for data in fact.output.cut]
    assert len(GATE.seen) == fact.output.rows_in == len(done.parts) == 1
    assert [len(each.parts) for each in rest] == [2, 2, 2, 2]


def test_a_started_lease_runs_on_when_it_is_only_wanted_elsewhere() -> None:
    plan = make.planned(make.stage("range://1000?splits=1", make.chain(gated)))
    control = make.Control()
    (lease,) = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue([lease])
        GATE.wait_for_call()
        runner.revoke([lease[0]])
        GATE.open()
        control.ends(1)

    assert returned(control.facts) == []


def test_a_lease_is_revoked_though_its_input_is_read_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "INLINE_BYTES_MAX", 0)
    url = make.parquet_files(tmp_path, [pa.table({"id": [index]}) for index in range(3)])
    plan = make.planned(make.stage(url, make.chain(gated), split="file"))
    control = make.Control()
    leases = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue(leases)
        GATE.wait_for_call()
        _wait_until_read(runner)
        runner.revoke([lease for lease, _ in leases])
        control.wait_for(lambda facts: len(returned(facts)) == 2)
        GATE.open()
        control.ends(1)

    assert len(GATE.seen) == 1
    assert runner._desk._read_bytes == 0


def _wait_until_read(runner: RunnerEngine) -> None:
    """Wait until the reader has read all that is queued; the worker is inside its function."""
    desk = runner._desk
    with desk._work:
        assert desk._work.wait_for(
            lambda: all(ticket.is_read for ticket in desk._queue.values()), timeout=30
        )


def test_the_next_split_is_read_while_this_one_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt stands still inside its function, and the second one's rows arrive."""
    monkeypatch.setattr(programs, "INLINE_BYTES_MAX", 0)
    url = make.parquet_files(tmp_path, [pa.table({"id": [index]}) for index in range(2)])
    plan = make.planned(make.stage(url, make.chain(gated), split="file"))
    control = make.Control()

    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases())
        GATE.wait_for_call()
        _wait_until_read(runner)
        (waiting,) = runner._desk._queue.values()
        assert [table["id"].to_pylist() for (_, table), _ in waiting.batches] == [[1]]
        assert not any(
            isinstance(fact, AttemptStarted) and fact.task == 1 for fact in control.facts
        )
        GATE.open(times=2)
        control.ends(2)


def test_a_draining_runner_ends_what_runs_and_returns_the_rest() -> None:
    plan = make.planned(make.stage("range://30?splits=3", make.chain(gated)))
    control = make.Control()
    leases = plan.leases()

    with make.engine(plan, control) as runner:
        runner.enqueue(leases[:2])
        GATE.wait_for_call()
        runner.drain()
        runner.enqueue(leases[2:])
        control.wait_for(lambda facts: sorted(returned(facts)) == [1, 2])
        GATE.open()
        (end,) = control.ends(1)

    assert isinstance(end, AttemptFinished)
    assert end.task == 0


def test_revoking_while_the_worker_runs_loses_no_lease() -> None:
    """Each lease either ends or comes back, whoever was first."""
    plan = make.planned(make.stage("range://300?splits=300"))
    control = make.Control()
    leases = plan.leases()
    barrier = threading.Barrier(2, timeout=30)

    with make.engine(plan, control) as runner:

        def revoke() -> None:
            barrier.wait()
            for lease, _ in reversed(leases):
                runner.revoke([lease])

        thread = threading.Thread(target=revoke)
        thread.start()
        barrier.wait()
        runner.enqueue(leases)
        thread.join()
        runner.revoke([lease for lease, _ in leases])
        control.wait_for(lambda facts: _settled(facts) == 300)

    ended = {fact.task for fact in control.facts if isinstance(fact, AttemptFinished)}
    assert not ended & set(returned(control.facts))


def _settled(facts: list[Fact]) -> int:
    return sum(isinstance(fact, AttemptFinished | LeaseReturned) for fact in facts)


def first_version(table: pa.Table) -> pa.Table:
    raise ValueError("not yet")


def mended(table: pa.Table) -> pa.Table:
    return table


def test_a_mended_function_runs_on_the_same_warm_runner() -> None:
    plan = make.planned(make.stage("range://10?splits=1", make.chain(first_version)))
    control = make.Control()

    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases())
        (failed,) = control.ends(1)
        program = make.program_of(
            make.stage("range://10?splits=1", make.chain(mended)), plan.sink_urls
        )
        plan.publish_program(program, "v2")
        runner.enqueue([plan.lease(0, attempt=1)])
        *_, finished = control.ends(2)

    assert make.error_of(failed).message == "not yet"
    assert make.output_of(finished).results[0].rows == 10


def printing(table: pa.Table) -> pa.Table:
    print("rows:", table.num_rows)  # noqa: T201 - what is tested
    return table


def test_what_a_function_prints_is_handed_to_the_log() -> None:
    plan = make.planned(make.stage("range://20?splits=2", make.chain(printing)))
    control = make.Control()
    install_tee(echo=False)

    try:
        with make.engine(plan, control, logged=True) as runner:
            runner.enqueue(plan.leases())
            control.ends(2)
    finally:
        remove_tee()

    assert [(line.task, line.text) for line in control.lines] == [(0, "rows: 10"), (1, "rows: 10")]


def exits(table: pa.Table) -> pa.Table:
    sys.exit(1)


def test_a_function_that_exits_does_not_take_the_runner_along() -> None:
    plan = make.planned(make.stage("range://20?splits=2", make.chain(exits)))

    ends = make.executed(plan)

    assert [make.error_of(end).message for end in ends] == ["called sys.exit(1)"] * 2


def test_a_runner_whose_worker_died_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours must look like a lost runner, not like a busy one."""
    plan = make.planned(make.stage("range://20?splits=1"))
    control = make.Control()
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda args: died.set())

    with make.engine(plan, control) as runner:
        monkeypatch.setattr(runner._desk, "finish", None)
        runner.enqueue(plan.leases())
        assert died.wait(timeout=30)
        runner._threads[-1].join(timeout=30)

        assert not runner._threads[-1].is_alive()


def test_closing_waits_for_the_attempt_that_runs() -> None:
    plan = make.planned(make.stage("range://20?splits=2", make.chain(gated)))
    control = make.Control()

    with make.engine(plan, control) as runner:
        runner.enqueue(plan.leases())
        GATE.wait_for_call()
        GATE.open()

    assert [fact.task for fact in control.facts if isinstance(fact, AttemptFinished)] == [0]


def test_closing_does_not_cut_the_input_of_the_attempt_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first batch is computed when the runner closes; the reader has three more to read.

    Were they not read, half a split would be committed as a whole one.
    """
    monkeypatch.setattr(programs, "INLINE_BYTES_MAX", 0)
    rows = 4 * BATCH_BYTES_MIN // 8
    table = pa.table({"id": np.arange(rows)})
    url = make.parquet_files(tmp_path, [table], row_group_rows=rows // 4)
    plan = make.planned(make.stage(url, make.chain(gated), split="file", memory_bytes=1))
    control = make.Control()

    with make.engine(plan, control, memory_bytes=1) as runner:
        runner.enqueue(plan.leases())
        GATE.wait_for_call()
        runner._desk.close()
        GATE.open(times=100)

    (end,) = control.ends(1)
    assert make.output_of(end).results[0].rows == rows
    assert len(GATE.seen) > 1


def test_a_halted_runner_stops_at_its_next_batch_and_says_nothing(tmp_path: Path) -> None:
    rows = 4 * BATCH_BYTES_MIN // 8
    table = pa.table({"id": np.arange(rows)})
    url = make.parquet_files(tmp_path, [table], row_group_rows=rows // 4)
    plan = make.planned(make.stage(url, make.chain(gated), split="file", memory_bytes=1))
    control = make.Control()

    with make.engine(plan, control, memory_bytes=1) as runner:
        runner.enqueue(plan.leases())
        GATE.wait_for_call()
        runner.halt()
        GATE.open(times=100)
        runner._threads[0].join(timeout=30)

    assert GATE.seen == [0]
    assert not any(isinstance(fact, AttemptFinished) for fact in control.facts)


def test_a_frame_function_runs_on_the_worker() -> None:
    pytest.importorskip("polars")
    code = MapCode(function=lambda frame: frame.head(1), takes="polars")
    plan = make.planned(make.stage("range://20?splits=2", make.chain(code)))

    assert [make.output_of(end).results[0].rows for end in make.executed(plan)] == [1, 1]
