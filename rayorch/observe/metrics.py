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

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Event,
    Fact,
    Led,
    PublishFailed,
    RunResumed,
    RunSubmitted,
    SinkPublished,
)
from rayorch.core.machine import Machine
from rayorch.core.run import ACTIVE, Run, RunState
from rayorch.core.task import TaskState
from rayorch.ids import RunId
from rayorch.observe.tallies import Histogram, LabelCap, StageTally

LOOPBACK: Final = "127.0.0.1"
REFRESH_S: Final = 0.2
"""How old a gauge may be."""
PIPELINES_MAX: Final = 100
STAGES_MAX: Final = 200
"""Of all pipelines together: each is 4 histograms."""
POOLS_MAX: Final = 50
FLUSH_BOUNDS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
RUN_BOUNDS_S: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
SUMS: Final = ("rows_in", "rows_out", "bytes_in", "bytes_out", "duplicates")
"""Of `Totals`: committed work, each task once."""

ATTEMPT_KINDS: Final = frozenset({AttemptFailed, AttemptLost})
Runs = Mapping[RunId, Run]

logger = logging.getLogger(__name__)


class _Sums(msgspec.Struct):
    """What the runs of one pipeline did since this process began to look."""

    values: list[int]
    publications: dict[str, int]  # by outcome
    ended: dict[str, Histogram]  # seconds by the state that the run settled in


class _Watched:
    """One run, as far as it was looked at."""

    __slots__ = ("active", "began_s", "pipeline", "seen", "stages")

    def __init__(self, run: Run, pipeline: str, stages: list[StageTally]) -> None:
        self.pipeline = pipeline
        self.stages = stages
        self.active = run.state in ACTIVE
        self.began_s = run.submitted_s
        self.seen = [getattr(run.totals, name) for name in SUMS]


class Gauges(msgspec.Struct, frozen=True):
    """What is so at one moment."""

    tasks: Mapping[tuple[str, str], int] = {}  # (pipeline, state)
    runs: Mapping[tuple[str, str], int] = {}  # (pipeline, state)
    runners: Mapping[str, int] = {}  # by pool
    leases: int = 0


class Metrics(Collector):
    """An observer of a control host that Prometheus can scrape."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipelines = LabelCap(PIPELINES_MAX)
        self._stage_labels = LabelCap(STAGES_MAX)
        self._pools = LabelCap(POOLS_MAX)
        self._watched: dict[RunId, _Watched] = {}
        self._newest: dict[str, RunId] = {}  # pipeline -> its newest run
        self._stages: dict[tuple[str, str], StageTally] = {}
        self._sums: dict[str, _Sums] = {}
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
                    fresh = fresh or type(fact) not in ATTEMPT_KINDS
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
        if run is None or fact.task >= len(run.tasks):
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

    def _sums_of(self, pipeline: str) -> _Sums:
        if pipeline not in self._sums:
            self._sums[pipeline] = _Sums([0] * len(SUMS), {}, {})
        return self._sums[pipeline]

    # --- every so often: what the machine sums up itself --------------------------------------

    def _refresh(self, machine: Machine) -> None:
        tasks: Counter[tuple[str, str]] = Counter()
        states: Counter[tuple[str, str]] = Counter()
        running = _running_by_run(machine)
        for run_id, watched in list(self._watched.items()):
            run = machine.runs[run_id]
            self._advance(run, watched)
            if not watched.active and self._newest.get(run.pipeline) != run_id:
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
        active = run.state in ACTIVE
        if watched.active and not active and run.finished_s:
            ended = sums.ended.setdefault(run.state.value, Histogram(RUN_BOUNDS_S))
            ended.add(max(0.0, run.finished_s - watched.began_s))
        watched.active = active

    # --- being scraped: any thread ------------------------------------------------------------

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        with self._lock:
            gauges = self._gauges
            stages = {labels: tally.copied() for labels, tally in self._stages.items()}
            sums = {
                pipeline: _Sums(
                    old.values.copy(),
                    dict(old.publications),
                    {state: seconds.copied() for state, seconds in old.ended.items()},
                )
                for pipeline, old in self._sums.items()
            }
            flushes, flushed_events = self._flushes.copied(), self._flushed_events
        yield from _gauge_families(gauges)
        yield from _stage_families(stages)
        yield from _sum_families(sums)
        flush_s = HistogramMetricFamily(
            "rayorch_journal_flush_seconds", "Seconds to make one segment durable."
        )
        flushes.put(flush_s, ())
        yield flush_s
        yield CounterMetricFamily(
            "rayorch_journal_events", "Events made durable.", value=flushed_events
        )

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
        self._newest[run.pipeline] = run.id
        if isinstance(fact, RunResumed) and not watched.active:
            watched.began_s = at_s

    def _lead(self, _fact: Led, _at_s: float, runs: Runs) -> None:
        """Begin with what a replay found: its sums were counted by the leader before."""
        for run in runs.values():
            self._newest[run.pipeline] = run.id
            if run.state in ACTIVE:
                self._watch(run)

    def _publish(self, fact: SinkPublished | PublishFailed, _at_s: float, runs: Runs) -> None:
        run = runs.get(fact.run)
        if run is None:
            return
        watched = self._watched.get(fact.run) or self._watch(run)
        outcome = "published" if isinstance(fact, SinkPublished) else "failed"
        publications = self._sums_of(watched.pipeline).publications
        publications[outcome] = publications.get(outcome, 0) + 1


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
    open_tasks = max(0, len(run.tasks) - run.committed - run.failed)
    held = min(flow.held, open_tasks)
    waiting = min(len(flow.waiting), open_tasks - held)
    rest = open_tasks - held - waiting
    cancelled = run.state is RunState.CANCELLED
    return [
        (TaskState.READY, 0 if cancelled else rest),
        (TaskState.LEASED, max(0, held - running)),
        (TaskState.RUNNING, min(held, running)),
        (TaskState.WAITING, waiting),
        (TaskState.COMMITTED, run.committed),
        (TaskState.FAILED, run.failed),
        (TaskState.CANCELLED, rest if cancelled else 0),
    ]


def _gauge_families(gauges: Gauges) -> Iterator[Metric]:
    tasks = GaugeMetricFamily(
        "rayorch_tasks",
        "Tasks by state, of active runs and of the newest run of each pipeline.",
        labels=("pipeline", "state"),
    )
    for labels, count in gauges.tasks.items():
        tasks.add_metric(labels, count)
    runs = GaugeMetricFamily(
        "rayorch_runs",
        "Runs by state: the active ones and the newest of each pipeline.",
        labels=("pipeline", "state"),
    )
    for labels, count in gauges.runs.items():
        runs.add_metric(labels, count)
    runners = GaugeMetricFamily("rayorch_runners", "Runners that live.", labels=("pool",))
    for pool, count in gauges.runners.items():
        runners.add_metric((pool,), count)
    ready = sum(
        count for (_, state), count in gauges.tasks.items() if state == TaskState.READY.value
    )
    yield from (tasks, runs, runners)
    yield GaugeMetricFamily("rayorch_queue_length", "Tasks that wait for a runner.", value=ready)
    yield GaugeMetricFamily("rayorch_leases_held", "Leases that runners hold.", value=gauges.leases)


def _stage_families(stages: Mapping[tuple[str, str], StageTally]) -> Iterator[Metric]:
    attempts = CounterMetricFamily(
        "rayorch_attempts",
        "Attempts that ended, by outcome and, unless they finished, kind of failure.",
        labels=("pipeline", "stage", "outcome", "kind"),
    )
    steps = HistogramMetricFamily(
        "rayorch_step_seconds",
        "Where the seconds of finished attempts went.",
        labels=("pipeline", "stage", "step"),
    )
    for labels, tally in stages.items():
        attempts.add_metric((*labels, "finished", ""), tally.finished)
        for ending, count in tally.unfinished.items():
            attempts.add_metric((*labels, *ending), count)
        for step, seconds in tally.steps():
            seconds.put(steps, (*labels, step))
    yield from (attempts, steps)


def _sum_families(sums: Mapping[str, _Sums]) -> Iterator[Metric]:
    for i, name in enumerate(SUMS):
        family = CounterMetricFamily(f"rayorch_{name}", _SUM_TEXTS[name], labels=("pipeline",))
        for pipeline, of in sums.items():
            family.add_metric((pipeline,), of.values[i])
        yield family
    publications = CounterMetricFamily(
        "rayorch_publications", "Publications of sinks.", labels=("pipeline", "outcome")
    )
    runs = HistogramMetricFamily(
        "rayorch_run_seconds",
        "Seconds from a run's submission or resumption to where it settled.",
        labels=("pipeline", "state"),
    )
    for pipeline, of in sums.items():
        for outcome, count in of.publications.items():
            publications.add_metric((pipeline, outcome), count)
        for state, seconds in of.ended.items():
            seconds.put(runs, (pipeline, state))
    yield from (publications, runs)


_SUM_TEXTS: Final[Mapping[str, str]] = {
    "rows_in": "Rows read by committed tasks.",
    "rows_out": "Rows written by committed tasks.",
    "bytes_in": "Bytes read by committed tasks.",
    "bytes_out": "Bytes written by committed tasks.",
    "duplicates": "Reports of tasks that were committed already.",
}
