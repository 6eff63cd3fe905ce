"""The metric families of a control actor: numbers in, what Prometheus reads out."""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from rayorch.core.task import TaskState
from rayorch.observe.tallies import SUMS, CostTally, Gauges, Histogram, StageTally, Sums

_SUM_TEXTS: Final[Mapping[str, str]] = {
    "rows_in": "Rows read by committed tasks.",
    "rows_out": "Rows written by committed tasks.",
    "bytes_in": "Bytes read by committed tasks.",
    "bytes_out": "Bytes written by committed tasks.",
    "duplicates": "Reports of tasks that were committed already.",
}


def gauge_families(gauges: Gauges) -> Iterator[Metric]:
    """Yield what is so now."""
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


def stage_families(stages: Mapping[tuple[str, str], StageTally]) -> Iterator[Metric]:
    """Yield what became of attempts, by (pipeline, stage)."""
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


def sum_families(sums: Mapping[str, Sums]) -> Iterator[Metric]:
    """Yield what was committed, published and ended, by pipeline."""
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


def cost_families(costs: CostTally) -> Iterator[Metric]:
    """Yield what runs were charged, by pool, and what became of placements, by pipeline."""
    usd = CounterMetricFamily(
        "rayorch_cost_usd",
        "US dollars charged to runs, of pools whose price is known; the kinds add up.",
        labels=("pool", "kind"),
    )
    core_s = CounterMetricFamily(
        "rayorch_core_seconds",
        "Core seconds charged to runs: useful, wasted, idle.",
        labels=("pool", "kind"),
    )
    revisions = CounterMetricFamily(
        "rayorch_placement_revisions",
        "Placements that were decided, the first of a run among them.",
        labels=("pipeline",),
    )
    failures = CounterMetricFamily(
        "rayorch_solver_failures",
        "Solvers that crashed or took too long; the placement before served on.",
        labels=("pipeline",),
    )
    for family, amounts in ((usd, costs.usd), (core_s, costs.core_s)):
        for labels, amount in amounts.items():
            family.add_metric(labels, amount)
        yield family
    for family, counts in ((revisions, costs.revisions), (failures, costs.failures)):
        for pipeline, count in counts.items():
            family.add_metric((pipeline,), count)
        yield family


def journal_families(flushes: Histogram, events: int) -> Iterator[Metric]:
    """Yield how the journal does."""
    flush_s = HistogramMetricFamily(
        "rayorch_journal_flush_seconds", "Seconds to make one segment durable."
    )
    flushes.put(flush_s, ())
    yield flush_s
    yield CounterMetricFamily("rayorch_journal_events", "Events made durable.", value=events)
