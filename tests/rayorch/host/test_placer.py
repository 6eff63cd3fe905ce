"""The placement of a run that goes: what its journal says, whatever becomes of the solver."""

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.client import Connection, LocalControl, follow, resume_run, submit_run
from rayorch.clock import SystemClock
from rayorch.core.facts import (
    AttemptFinished,
    Fact,
    PlacementFailed,
    PlacementReady,
    PlanFailed,
    PlanReady,
)
from rayorch.home import open_home
from rayorch.host import inprocess, solving
from rayorch.ids import RunId, new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView
from rayorch.plan.deciding import Decision
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import PoolsSpec
from rayorch.settings import Settings
from rayorch.wanted import asked_of

POOLS = parse_pools(
    """
pools:
  - {name: cheap, vcpu: 1, memory: 8 GiB, usd_h: 1.0, min_bill_s: 1}
  - {name: dear, vcpu: 1, memory: 8 GiB, usd_h: 1000.0, min_bill_s: 1,
     spot: {reclaims_per_h: 2}}
""",
    "pools.yaml",
)
WAIT_S = 100.0
gate = threading.Event()


def waiting(table: pa.Table) -> pa.Table:
    """Pass rows on, once the test lets them."""
    opened: threading.Event = sys.modules[__name__].gate
    assert opened.wait(WAIT_S)
    return table


class Work:
    """A home with a run of eight tasks that wait, on two pools of two threads."""

    def __init__(self, folder: Path) -> None:
        home = (folder / "home").as_uri()
        self.at = Connection(
            open_home(home), SystemClock(), Settings(home=home, executor="in-process")
        )
        self.out = (folder / "out").as_uri()

    def pipeline(self, within_s: float | None = None) -> ro.Pipeline:
        objective = None if within_s is None else ro.Deadline(timedelta(seconds=within_s))
        pipeline = ro.Pipeline("nightly", objective=objective)
        rows = pipeline.read("rows", "range://80?splits=8")
        pipeline.map(rows, output="mapped")(waiting).write(self.out, format="parquet")
        return pipeline

    def control(self, **pools: int) -> LocalControl:
        return LocalControl(self.at.home, self.at.clock, 2, pools=pools or {"cheap": 2, "dear": 2})

    def submit(
        self, control: LocalControl, pools: PoolsSpec | None = POOLS, within_s: float | None = None
    ) -> RunId:
        pipeline = self.pipeline(within_s)
        asked = asked_of(pipeline.spec().objective, pools)
        return submit_run(self.at, control, pipeline, asked=asked)

    def end(self, control: LocalControl, run: RunId) -> RunView:
        gate.set()
        *_, view = follow(self.at, control, run)
        return view

    def facts(self) -> list[Fact]:
        events: list[Fact] = []
        journal = Journal(self.at.home.store, self.at.clock, new_nonce)
        journal.replay(lambda event: events.append(event.fact))
        return events

    def placed(self) -> list[PlacementReady]:
        return [fact for fact in self.facts() if isinstance(fact, PlacementReady)]

    def wait_for(self, kind: type[Fact], count: int) -> None:
        begun_s = self.at.clock.monotonic_s()
        while sum(isinstance(fact, kind) for fact in self.facts()) < count:
            assert self.at.clock.monotonic_s() - begun_s < WAIT_S, self.facts()
            threading.Event().wait(0.02)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    gate.clear()
    # Threads that wait at the gate are left behind at once.
    monkeypatch.setattr(inprocess, "CLOSE_S_MAX", 0.0)
    yield Work(tmp_path)
    gate.set()


def test_tasks_go_where_the_plan_says_and_the_decision_is_kept(work: Work) -> None:
    with closing(work.control()) as control:
        run = work.submit(control)
        work.wait_for(PlacementReady, 2)
        view = work.end(control, run)

    assert view.state == "succeeded"
    facts = work.facts()
    # Before the plan: the first runners that are asked for are of its pools.
    kinds = [type(fact) for fact in facts]
    assert kinds.index(PlacementReady) < kinds.index(PlanReady)
    first, second = work.placed()
    assert [each.pools for each in first.classes] == [("cheap",)]
    assert first.is_reviewed
    assert not first.is_final
    assert second.revision == 2
    assert second.is_final
    assert {price.pool: price.usd_core_h for price in second.prices} == {
        "cheap": 1.0,
        "dear": 1000.0,
    }
    pools = Counter(fact.pool for fact in facts if isinstance(fact, AttemptFinished))
    assert pools == {"cheap": 8}
    kept = work.at.home.get_json(run, "placement-1")
    assert first.forecast is not None
    assert (kept["method"], kept["p50_s"]) == (first.method, first.forecast.p50_s)
    assert kept["p95_s"] == first.forecast.p95_s
    kept = work.at.home.get_json(run, "placement-2")
    assert kept["revision"] == 2
    assert kept["at_s"] > 0.0
    decision = told_of(kept)
    assert [use.pool for use in decision.stages[0].chosen] == ["cheap"]
    assert [use.pool for use in decision.stages[0].lost] == ["dear"]


def told_of(kept: dict[str, object]) -> Decision:
    return msgspec.json.decode(json.dumps(kept), type=Decision)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("print('garbage')", "no plan"),
        ("import threading; threading.Event().wait()", "too long"),
    ],
)
def test_a_solver_that_fails_never_reaches_the_run(
    work: Work, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    """The first placement serves, and the journal says why there is no better one."""
    monkeypatch.setattr(solving, "COMMAND", (sys.executable, "-c", code))
    monkeypatch.setattr(solving.SolverProcess.__init__, "__defaults__", (None, 0.5))

    with closing(work.control()) as control:
        run = work.submit(control)
        work.wait_for(PlacementFailed, 1)
        view = work.end(control, run)

    assert view.state == "succeeded"
    (failed,) = [fact for fact in work.facts() if isinstance(fact, PlacementFailed)]
    assert says in failed.error.message
    assert work.placed()[0].revision == 1
    pools = {fact.pool for fact in work.facts() if isinstance(fact, AttemptFinished)}
    assert pools == {"cheap"}


def test_a_deadline_is_guarded_where_the_solver_fails(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadline that has passed needs everything: the placement that stands is widened."""
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    monkeypatch.setattr(solving, "COMMAND", (sys.executable, "-c", code))

    with closing(work.control()) as control:
        run = work.submit(control, within_s=0.01)
        work.wait_for(PlacementFailed, 1)
        view = work.end(control, run)

    assert view.state == "succeeded"
    first = work.placed()[0]
    assert any("deadline" in reason for reason in first.reasons)


def test_a_solver_that_hangs_does_not_use_up_the_time_until_the_deadline(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing guards a deadline while a solver is at work, so that its time is a part of it."""
    monkeypatch.setattr(solving, "COMMAND", (sys.executable, "-c", "import signal; signal.pause()"))

    with closing(work.control()) as control:
        run = work.submit(control, within_s=6.0)
        work.wait_for(PlacementFailed, 1)
        work.end(control, run)

    (failed, *_) = [fact for fact in work.facts() if isinstance(fact, PlacementFailed)]
    assert "took too long and was ended. time_limit_s=2" in failed.error.message


def test_pools_that_the_executor_has_not_are_left_out_and_named(work: Work) -> None:
    with closing(work.control(cheap=2)) as control:
        run = work.submit(control)
        view = work.end(control, run)

    assert view.state == "succeeded"
    (only,) = work.placed()
    assert only.reasons == ("pool dear is not in the cluster",)
    assert [price.pool for price in only.prices] == ["cheap"]
    assert only.is_final
    assert not only.is_reviewed


def test_a_run_for_which_no_pool_is_there_is_refused_with_both_lists(work: Work) -> None:
    with closing(work.control(m7i=2)) as control:
        run = work.submit(control)
        view = work.end(control, run)

    assert view.state == "failed"
    assert view.error is not None
    assert view.error.kind == "refused"
    assert "the file has cheap, dear; there are m7i" in view.error.message
    assert any(isinstance(fact, PlanFailed) for fact in work.facts())


def test_one_pool_and_nothing_to_keep_to_starts_no_solver(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solving, "COMMAND", ("no-such-program",))

    with closing(work.control(fast=2)) as control:
        run = work.submit(control, pools=None)
        view = work.end(control, run)

    assert view.state == "succeeded"
    (only,) = work.placed()
    assert (only.method, only.is_final, only.is_reviewed) == ("no choice", True, False)
    assert [(each.name, each.tasks, each.pools) for each in only.classes] == [("rows", 8, ())]
    assert only.forecast.usd is None
    assert only.forecast.p95_s > only.forecast.p50_s > 0.0


def test_the_next_leader_makes_the_placement_again_for_what_is_left(work: Work) -> None:
    """It knows the journal alone: neither the problem nor the layout outlives a process."""
    with closing(work.control()) as control:
        run = work.submit(control)
        work.wait_for(PlacementReady, 2)
    gate.set()
    with closing(work.control()) as control:
        resume_run(work.at, control, run)
        view = work.end(control, run)

    assert view.state == "succeeded"
    assert view.committed == 8
