"""What Prometheus sees of a control actor, served on loopback.

Three sources, by what they cost. Per event, and so kept to a few additions: attempts and the
seconds of their steps. Per `REFRESH_S`, read off the machine's own sums: tasks by state, rows,
bytes, queues, runners. Per scrape: turning all of it into text.

Labels are bounded: pipeline, stage, pool, state, outcome, kind. Never a run, task, partition or
runner, and of the first three only so many values; the rest is `other`.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Event,
    Fact,
    Led,
    PlacementFailed,
    PlacementReady,
    PublishFailed,
    RunResumed,
    RunSubmitted,
    SinkPublished,
)
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, RUN_KINDS, Run, RunState
from rayorch.core.task import TaskState
from rayorch.ids import RunId
from rayorch.observe.cost import charges_of
from rayorch.observe.families import (
    cost_families,
    gauge_families,
    journal_families,
    stage_families,
    sum_families,
)
from rayorch.observe.tallies import SUMS, CostTally, Gauges, Histogram, LabelCap, StageTally, Sums

LOOPBACK: Final = "127.0.0.1"
REFRESH_S: Final = 0.2
"""How old a gauge may be."""
PIPELINES_MAX: Final = 100
STAGES_MAX: Final = 200
"""Of all pipelines together: each is 4 histograms."""
POOLS_MAX: Final = 50
FLUSH_BOUNDS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RUN_BOUNDS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
FRESH: Final = RUN_KINDS | {RunSubmitted, Led}
"""Rare facts, after which the gauges are read at once."""
Runs = Mapping[RunId, Run]

logger = logging.getLogger(__name__)


class _Watched:
    """One run, as far as it was looked at."""

    __slots__ = ("active", "began_s", "charged", "pipeline", "seen", "stages")

    def __init__(self, run: Run, pipeline: str, stages: list[StageTally]) -> None:
        self.pipeline = pipeline
        self.stages = stages
        self.active = run.state in ACTIVE
        self.began_s = run.submitted_s
        self.seen = [getattr(run.totals, name) for name in SUMS]
        # The most that was charged so far, by pool and kind: core seconds and USD.
        self.charged = {(pool, kind): (core_s, usd) for pool, kind, core_s, usd in _charges(run)}


class Metrics(Collector):
    """An observer of a control host that Prometheus can scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipelines = LabelCap(PIPELINES_MAX)
        self._stage_labels = LabelCap(STAGES_MAX)
        self._pools = LabelCap(POOLS_MAX)
        self._watched: dict[RunId, _Watched] = {}
        self._newest: dict[str, RunId] = {}  # pipeline -> its newest run, kept when ended
        self._stages: dict[tuple[str, str], StageTally] = {}
        self._sums: dict[str, Sums] = {}
        self._costs = CostTally()
        self._gauges = Gauges()
        self._refreshed_s = float("-inf")
        self._flushes = Histogram(FLUSH_BOUNDS_S)
        self._flushed_events = 0
        self._server: Any = None
        self._server_thread: threading.Thread | None = None
        self._counts: Final[Mapping[type[Fact], Callable[[Any, float, Runs], None]]] = {
            AttemptFailed: self._count_failed,
            AttemptLost: self._count_lost,
            RunSubmitted: self._begin,
            RunResumed: self._begin,
            Led: self._lead,
            SinkPublished: self._publish,
            PublishFailed: self._publish,
            PlacementReady: self._place,
            PlacementFailed: self._place,
        }
        # Its own registry: a process that uses prometheus_client itself keeps its metrics.
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    # --- serving ---------------------------------------------------------------------------

    def serve(self, port: int) -> str:
        """Serve on loopback and return the URL; port 0 is any free one.

        A port that is taken costs a warning and is replaced by a free one: runs matter more.
        """
        assert self._server is None
        try:
            server, thread = start_http_server(port, addr=LOOPBACK, registry=self.registry)
        except OSError as error:
            logger.warning("metrics go to another port. port=%d reason=%s", port, error)
            server, thread = start_http_server(0, addr=LOOPBACK, registry=self.registry)
        self._server, self._server_thread = server, thread
        return f"http://{LOOPBACK}:{server.server_port}/metrics"

    def close(self) -> None:
        """Stop serving."""
        if self._server is not None and self._server_thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server_thread.join()
            self._server = self._server_thread = None

    # --- looking on: the host's thread --------------------------------------------------------

    def saw(self, events: Sequence[Event], machine: Machine) -> None:
        """Count events that the machine has applied."""
        if not events:
            return
        runs = machine.runs
        fresh = False
        with self._lock:
            for event in events:
                fact = event.fact
                if type(fact) is AttemptFinished:
                    stage = self._stage(fact, runs)
                    if stage is not None:
                        stage.finish(fact.output.seconds)
                    continue
                count = self._counts.get(type(fact))
                if count is not None:
                    count(fact, event.at_s, runs)
                fresh = fresh or type(fact) in FRESH
            at_s = events[-1].at_s
            # The clock may jump back; a gauge that waits for it would stand still for so long.
            if fresh or not 0.0 <= at_s - self._refreshed_s < REFRESH_S:
                self._refreshed_s = at_s
                self._refresh(machine)

    def flushed(self, duration_s: float, events: int) -> None:
        """Count one append to the journal."""
        with self._lock:
            self._flushes.add(duration_s)
            self._flushed_events += events

    def _stage(
        self, fact: AttemptFinished | AttemptFailed | AttemptLost, runs: Runs
    ) -> StageTally | None:
        run = runs.get(fact.run)
        if run is None or not 0 <= fact.task < len(run.tasks):
            return None  # Of another home, or reported after the run was swept.
        watched = self._watched.get(fact.run) or self._watch(run)
        return watched.stages[run.tasks[fact.task].stage]

    def _watch(self, run: Run) -> _Watched:
        pipeline = self._pipelines.capped(run.pipeline)
        stages = [self._tally(pipeline, stage.name) for stage in run.stages]
        watched = self._watched[run.id] = _Watched(run, pipeline, stages)
        return watched

    def _tally(self, pipeline: str, stage: str) -> StageTally:
        if (pipeline, stage) not in self._stages:
            stage = self._stage_labels.capped(f"{pipeline}\0{stage}").rpartition("\0")[2]
        return self._stages.setdefault((pipeline, stage), StageTally())

    def _sums_of(self, pipeline: str) -> Sums:
        if pipeline not in self._sums:
            self._sums[pipeline] = Sums([0] * len(SUMS), {}, {})
        return self._sums[pipeline]

    # --- every so often: what the machine sums up itself --------------------------------------

    def _refresh(self, machine: Machine) -> None:
        tasks: Counter[tuple[str, str]] = Counter()
        states: Counter[tuple[str, str]] = Counter()
        running = _running_by_run(machine)
        for run_id, watched in list(self._watched.items()):
            run = machine.runs[run_id]
            self._advance(run, watched)
            if not watched.active and self._newest.get(watched.pipeline) != run_id:
                del self._watched[run_id]
                continue
            pipeline = watched.pipeline
            states[pipeline, run.state.value] += 1
            for state, count in _tasks_by_state(run, machine, running[run_id]):
                tasks[pipeline, state.value] += count
        runners: Counter[str] = Counter()
        for slot in machine.runners.values():
            runners[self._pools.capped(slot.pool)] += 1
        leases = sum(len(slot.queue) for slot in machine.runners.values())
        self._gauges = Gauges(tasks, states, runners, leases)

    def _advance(self, run: Run, watched: _Watched) -> None:
        """Add what a run did since the last look."""
        sums = self._sums_of(watched.pipeline)
        for i, name in enumerate(SUMS):
            value = getattr(run.totals, name)
            sums.values[i] += value - watched.seen[i]
            watched.seen[i] = value
        self._charge(run, watched)
        active = run.state in ACTIVE
        if watched.active and not active and run.finished_s:
            ended = sums.ended.setdefault(run.state.value, Histogram(RUN_BOUNDS_S))
            ended.add(max(0.0, run.finished_s - watched.began_s))
        watched.active = active

    def _charge(self, run: Run, watched: _Watched) -> None:
        """Add what a run was charged since the last look."""
        costs = self._costs
        for pool, kind, core_s, usd in _charges(run):
            before_s, before_usd = watched.charged.get((pool, kind), (0.0, 0.0))
            watched.charged[pool, kind] = (max(core_s, before_s), max(usd, before_usd))
            key = (self._pools.capped(pool), kind)
            if core_s > before_s:
                costs.core_s[key] = costs.core_s.get(key, 0.0) + core_s - before_s
            if usd > before_usd:
                costs.usd[key] = costs.usd.get(key, 0.0) + usd - before_usd

    # --- being scraped: any thread ------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        with self._lock:
            gauges = self._gauges
            stages = {labels: tally.copied() for labels, tally in self._stages.items()}
            sums = {pipeline: old.copied() for pipeline, old in self._sums.items()}
            costs = self._costs.copied()
            flushes, flushed_events = self._flushes.copied(), self._flushed_events
        yield from gauge_families(gauges)
        yield from stage_families(stages)
        yield from sum_families(sums)
        yield from cost_families(costs)
        yield from journal_families(flushes, flushed_events)

    # --- facts by kind -------------------------------------------------------------------------

    def _count_failed(self, fact: AttemptFailed, _at_s: float, runs: Runs) -> None:
        stage = self._stage(fact, runs)
        if stage is not None:
            stage.end("failed", fact.kind)

    def _count_lost(self, fact: AttemptLost, _at_s: float, runs: Runs) -> None:
        stage = self._stage(fact, runs)
        if stage is not None:
            stage.end("lost", fact.kind)

    def _begin(self, fact: RunSubmitted | RunResumed, at_s: float, runs: Runs) -> None:
        run = runs.get(fact.run)
        if run is None:
            return
        watched = self._watched.get(fact.run) or self._watch(run)
        self._newest[watched.pipeline] = run.id
        if isinstance(fact, RunResumed) and not watched.active:
            watched.began_s = at_s

    def _lead(self, _fact: Led, _at_s: float, runs: Runs) -> None:
        """Begin with what a replay found: its sums were counted by the leader before."""
        for run in runs.values():
            if run.state in ACTIVE:
                self._newest[self._watch(run).pipeline] = run.id

    def _publish(self, fact: SinkPublished | PublishFailed, _at_s: float, runs: Runs) -> None:
        run = runs.get(fact.run)
        if run is None:
            return
        watched = self._watched.get(fact.run) or self._watch(run)
        outcome = "published" if isinstance(fact, SinkPublished) else "failed"
        publications = self._sums_of(watched.pipeline).publications
        publications[outcome] = publications.get(outcome, 0) + 1

    def _place(self, fact: PlacementReady | PlacementFailed, _at_s: float, runs: Runs) -> None:
        run = runs.get(fact.run)
        if run is None:
            return
        watched = self._watched.get(fact.run) or self._watch(run)
        is_ready = isinstance(fact, PlacementReady)
        counts = self._costs.revisions if is_ready else self._costs.failures
        counts[watched.pipeline] = counts.get(watched.pipeline, 0) + 1


def _charges(run: Run) -> list[tuple[str, str, float, float]]:
    """Return what a run was charged so far, the stages of each pool and kind added up."""
    sums: dict[tuple[str, str], tuple[float, float]] = {}
    for pool, kind, core_s, usd in charges_of(run):
        before_s, before_usd = sums.get((pool, kind), (0.0, 0.0))
        sums[pool, kind] = (before_s + core_s, before_usd + usd)
    return [(pool, kind, core_s, usd) for (pool, kind), (core_s, usd) in sums.items()]


def _running_by_run(machine: Machine) -> Counter[RunId]:
    """Count the runners that compute a task of each run: only the head of a queue can run."""
    running: Counter[RunId] = Counter()
    for slot in machine.runners.values():
        head = slot.head
        run = machine.runs.get(head.run) if head is not None else None
        if head is None or run is None or head.task >= len(run.tasks):
            continue
        task = run.tasks[head.task]
        if task.state is TaskState.RUNNING and task.runner == slot.id:
            running[run.id] += 1
    return running


def _tasks_by_state(run: Run, machine: Machine, running: int) -> list[tuple[TaskState, int]]:
    """Derive the tasks by state from the sums that the machine keeps, without a look at a task.

    Off by a few while a lease that was taken back is still counted as held.
    """
    flow = machine.flows[run.id]
    cancelled = run.state is RunState.CANCELLED
    failed = 0 if cancelled else run.failed
    # Not len(run.tasks): a run that was swept has let go of them.
    total = sum(run.task_counts)
    open_tasks = 0 if cancelled else max(0, total - run.committed - failed)
    held = min(flow.held, open_tasks)
    waiting = min(len(flow.waiting), open_tasks - held)
    return [
        (TaskState.READY, open_tasks - held - waiting),
        (TaskState.LEASED, max(0, held - running)),
        (TaskState.RUNNING, min(held, running)),
        (TaskState.WAITING, waiting),
        (TaskState.COMMITTED, run.committed),
        (TaskState.FAILED, failed),
        (TaskState.CANCELLED, total - run.committed if cancelled else 0),
    ]
