import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from rayorch.core.facts import (
    Event,
    Led,
    PlacementFailed,
    PlacementReady,
    PublishFailed,
    RunCancelRequested,
    RunResumed,
    Ticked,
)
from rayorch.core.ledger import spent_usd
from rayorch.core.placed import PoolPrice
from rayorch.core.values import ErrorInfo, StepSeconds
from rayorch.ids import EventId, RunId
from rayorch.observe.metrics import PIPELINES_MAX, REFRESH_S, STAGES_MAX, Metrics
from tests.rayorch import make
from tests.rayorch.observe.make import (
    RUN,
    World,
    failed,
    finished,
    joined,
    lost,
    published,
    started,
)

NIGHTLY = {"pipeline": "nightly"}
ORDERS = {**NIGHTLY, "stage": "orders"}


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    metrics = Metrics()
    yield metrics
    metrics.close()


def scrape(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback, our own.
        text: str = answer.read().decode()
    return text


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def tasks(metrics: Metrics) -> dict[str, int]:
    """Return the states that have tasks."""
    found = {
        sample.labels["state"]: int(sample.value)
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "rayorch_tasks"
    }
    return {state: count for state, count in found.items() if count}


def refresh(world: World) -> None:
    """Let as much time pass as gauges may be old."""
    world.at_s += REFRESH_S
    world.apply(Ticked())


def test_a_scrape_over_http_says_what_the_run_did(metrics: Metrics) -> None:
    """A run of two tasks ends well; somebody scrapes the URL that the control actor names."""
    url = metrics.serve(0)
    world = World(metrics)

    world.begin(tasks=2)
    world.apply(finished(0), finished(1))
    world.at_s += 7.0
    world.apply(published())

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(scrape(url))
        for sample in family.samples
    }
    assert samples["rayorch_attempts_total", "", "finished", "nightly", "orders"] == 2
    assert samples["rayorch_tasks", "committed", "nightly"] == 2
    assert samples["rayorch_rows_in_total", "nightly"] == 20
    assert samples["rayorch_rows_out_total", "nightly"] == 6
    assert samples["rayorch_bytes_in_total", "nightly"] == 2000
    assert samples["rayorch_bytes_out_total", "nightly"] == 400
    assert samples["rayorch_publications_total", "nightly", "published"] == 1
    assert samples["rayorch_run_seconds_sum", "nightly", "succeeded"] == pytest.approx(7.0)
    assert samples["rayorch_runs", "nightly", "succeeded"] == 1


def test_only_loopback_is_served(metrics: Metrics) -> None:
    url = metrics.serve(0)

    assert url.startswith("http://127.0.0.1:")
    assert metrics._server.server_address[0] == "127.0.0.1"


def test_a_port_that_is_taken_is_replaced_by_a_free_one(metrics: Metrics) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        url = metrics.serve(port)

    assert f":{port}/" not in url
    assert "rayorch_tasks" in scrape(url)


def test_after_close_nothing_listens() -> None:
    metrics = Metrics()
    port = int(metrics.serve(0).split(":")[2].split("/")[0])

    metrics.close()

    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_attempts_are_counted_by_outcome_and_kind(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin()

    world.apply(finished(0), lost(1), failed(2, "transient"), failed(3, "oom"))

    name = "rayorch_attempts_total"
    assert value(metrics, name, outcome="finished", kind="", **ORDERS) == 1
    assert value(metrics, name, outcome="lost", kind="preempted", **ORDERS) == 1
    assert value(metrics, name, outcome="failed", kind="transient", **ORDERS) == 1
    assert value(metrics, name, outcome="failed", kind="oom", **ORDERS) == 1


def test_seconds_are_histograms_by_step(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin()

    world.apply(finished(0))

    for step, seconds in {"read": 0.01, "compute": 0.3, "write": 0.02, "wait": 0.0}.items():
        assert value(metrics, "rayorch_step_seconds_sum", step=step, **ORDERS) == seconds
        assert value(metrics, "rayorch_step_seconds_count", step=step, **ORDERS) == 1
    below = value(metrics, "rayorch_step_seconds_bucket", step="compute", le="0.25", **ORDERS)
    assert below == 0


def test_a_task_that_is_reported_twice_adds_its_rows_once(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin()

    world.apply(finished(0), finished(0))
    refresh(world)

    assert value(metrics, "rayorch_rows_in_total", **NIGHTLY) == 10
    assert value(metrics, "rayorch_duplicates_total", **NIGHTLY) == 1


def test_tasks_by_state_follow_a_run(metrics: Metrics) -> None:
    """Five tasks: a runner takes leases, starts one, ends one; another one fails and waits."""
    world = World(metrics)
    world.begin(tasks=5)
    assert tasks(metrics) == {"ready": 5}

    world.apply(joined())
    refresh(world)
    assert tasks(metrics) == {"ready": 3, "leased": 2}
    assert value(metrics, "rayorch_queue_length") == 3
    assert value(metrics, "rayorch_leases_held") == 2
    assert value(metrics, "rayorch_runners", pool="default") == 1

    world.apply(started(0))
    refresh(world)
    assert tasks(metrics) == {"ready": 3, "leased": 1, "running": 1}

    world.at_s += REFRESH_S
    world.apply(finished(0), failed(1, "transient"))
    assert tasks(metrics) == {"ready": 3, "waiting": 1, "committed": 1}


def test_the_tasks_of_a_cancelled_run_are_cancelled(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=5)
    world.apply(finished(0))

    world.apply(RunCancelRequested(run=RUN))
    refresh(world)

    assert tasks(metrics) == {"committed": 1, "cancelled": 4}
    assert value(metrics, "rayorch_runs", state="cancelled", **NIGHTLY) == 1


def test_between_two_refreshes_gauges_are_not_computed_again(metrics: Metrics) -> None:
    """A hundred thousand events a second must not cost a look at all runs each."""
    world = World(metrics)
    world.begin(tasks=4)

    world.apply(finished(0))

    assert tasks(metrics) == {"ready": 4}
    refresh(world)
    assert tasks(metrics) == {"ready": 3, "committed": 1}


def test_a_clock_that_jumps_back_does_not_stop_the_gauges(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=4)

    world.at_s -= 3600.0
    world.apply(finished(0))

    assert tasks(metrics) == {"ready": 3, "committed": 1}


def test_a_resumed_run_is_timed_from_its_resumption(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=1)
    world.apply(failed(0))
    refresh(world)
    world.at_s += 1000.0

    world.apply(RunResumed(run=RUN, version="v2"))
    world.at_s += 5.0
    world.apply(finished(0))
    world.apply(published())

    assert value(metrics, "rayorch_run_seconds_sum", state="failed", **NIGHTLY) == 0.0
    assert value(metrics, "rayorch_run_seconds_sum", state="succeeded", **NIGHTLY) == 5.0


def test_what_the_leader_before_counted_is_not_counted_again(metrics: Metrics) -> None:
    """A replay rebuilds a half-done run; the new process counts what is done from then on."""
    world = World()
    world.begin(tasks=4)
    world.apply(finished(0), finished(1))
    world.observers = (metrics,)

    world.apply(Led(epoch=world.machine.epoch, interrupts=False))
    world.apply(finished(2))
    refresh(world)

    assert value(metrics, "rayorch_rows_in_total", **NIGHTLY) == 10
    assert tasks(metrics) == {"ready": 1, "committed": 3}


def test_a_failed_publication_is_counted(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=1)
    world.apply(finished(0))

    error = ErrorInfo(message="throttled")
    world.apply(PublishFailed(run=RUN, sink=0, error=error, retry_at_s=world.at_s + 1.0))

    assert value(metrics, "rayorch_publications_total", outcome="failed", **NIGHTLY) == 1


def test_journal_flushes_are_a_histogram(metrics: Metrics) -> None:
    metrics.flushed(0.002, 40)
    metrics.flushed(0.2, 2)

    assert value(metrics, "rayorch_journal_flush_seconds_count") == 2
    assert value(metrics, "rayorch_journal_flush_seconds_bucket", le="0.003") == 1
    assert value(metrics, "rayorch_journal_events_total") == 42


def test_labels_are_bounded_and_never_name_a_run_or_a_task(metrics: Metrics) -> None:
    """Somebody submits far more pipelines than there are label values."""
    world = World(metrics)
    world.apply(Led(epoch=world.machine.epoch))

    for i in range(PIPELINES_MAX + STAGES_MAX):
        world.submit(1, run=f"run-{i}", pipeline=f"pipeline-{i}", stage=f"stage-{i}")
        world.apply(finished(0, run=f"run-{i}"))
        world.apply(published(f"run-{i}"))
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]

    labels: dict[str, set[str]] = {}
    for sample in samples:
        for name, label in sample.labels.items():
            labels.setdefault(name, set()).add(label)
    assert len(labels["pipeline"]) == PIPELINES_MAX + 1
    assert len(labels["stage"]) <= STAGES_MAX + 1
    assert set(labels) <= {"pipeline", "stage", "state", "outcome", "kind", "step", "le", "pool"}
    attempts = [s for s in samples if s.name == "rayorch_attempts_total"]
    assert len(attempts) <= STAGES_MAX + PIPELINES_MAX + 1
    assert sum(s.value for s in attempts) == PIPELINES_MAX + STAGES_MAX


def test_runs_that_ended_are_forgotten_but_for_the_newest(metrics: Metrics) -> None:
    """A home that runs the same pipeline for years is not walked at each refresh."""
    world = World(metrics)
    world.apply(Led(epoch=world.machine.epoch))

    for i in range(50):
        world.submit(1, run=f"run-{i}")
        world.apply(finished(0, run=f"run-{i}"))
        world.apply(published(f"run-{i}"))
        refresh(world)

    assert set(metrics._watched) == {RunId("run-49")}
    assert value(metrics, "rayorch_rows_in_total", **NIGHTLY) == 500


PRICE = PoolPrice("spot", 3600.0, egress_usd_gb=1.0)


def charged(metrics: Metrics, name: str) -> dict[str, float]:
    """Return what the pool `spot` was charged, by kind."""
    kinds = ("useful", "wasted", "idle", "egress", "requests")
    found = {kind: value(metrics, name, pool="spot", kind=kind) for kind in kinds}
    return {kind: amount for kind, amount in found.items() if amount is not None}


def test_what_runs_are_charged_is_counted_by_pool_and_kind(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=3)
    world.apply(PlacementReady(run=RUN, revision=1, prices=(PRICE,)))
    done = finished(0, seconds=StepSeconds(compute_s=2.0))
    output = replace(done.output, moved_bytes=500_000_000)
    world.apply(replace(done, pool="spot", output=output))
    world.apply(replace(lost(1), pool="spot", duration_s=3.0), started(2))
    world.apply(make.metered("spot", 9.0, usd_h=3600.0, run=RUN))
    refresh(world)

    assert charged(metrics, "rayorch_core_seconds_total") == pytest.approx(
        {"useful": 2.0, "wasted": 3.0, "idle": 4.0}
    )
    assert charged(metrics, "rayorch_cost_usd_total") == pytest.approx(
        {"useful": 2.0, "wasted": 3.0, "idle": 4.0, "egress": 0.5}
    )
    (run,) = world.machine.runs.values()
    assert sum(charged(metrics, "rayorch_cost_usd_total").values()) == pytest.approx(spent_usd(run))


def test_without_a_price_core_seconds_are_counted_and_no_dollars(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=1)
    done = finished(0, seconds=StepSeconds(compute_s=2.0))
    world.apply(replace(done, pool="spot"))
    refresh(world)

    assert charged(metrics, "rayorch_core_seconds_total") == {"useful": 2.0}
    assert charged(metrics, "rayorch_cost_usd_total") == {}


def test_a_counter_of_cost_never_falls(metrics: Metrics) -> None:
    """An attempt presumed lost, and charged as waste, reports after all: the ledger takes it back.

    A counter that falls looks to Prometheus like one that began anew.
    """
    world = World(metrics)
    world.begin(tasks=1)
    world.apply(PlacementReady(run=RUN, revision=1, prices=(PRICE,)))
    world.apply(joined(pool="spot"), Ticked(), started(0))
    world.apply(replace(lost(0), pool="spot", duration_s=3.0))
    refresh(world)
    late = replace(finished(0, seconds=StepSeconds(compute_s=5.0)), pool="spot")
    world.apply(late)
    refresh(world)

    (run,) = world.machine.runs.values()
    assert run.ledger[0]["spot"].wasted_core_s == pytest.approx(0.0)
    assert charged(metrics, "rayorch_core_seconds_total") == {"useful": 5.0, "wasted": 3.0}


def test_placements_and_failed_solvers_are_counted(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin(tasks=1)
    world.apply(PlacementReady(run=RUN, revision=1), PlacementReady(run=RUN, revision=2))
    world.apply(PlacementFailed(RUN, 3, ErrorInfo(message="out of time")))

    assert value(metrics, "rayorch_placement_revisions_total", **NIGHTLY) == 2
    assert value(metrics, "rayorch_solver_failures_total", **NIGHTLY) == 1


def test_events_of_runs_that_the_home_does_not_know_are_passed_over(metrics: Metrics) -> None:
    world = World(metrics)
    world.begin()

    for fact in (finished(0, run="elsewhere"), finished(99), published("elsewhere")):
        metrics.saw([Event(EventId(9), world.at_s, fact)], world.machine)

    assert value(metrics, "rayorch_attempts_total", outcome="finished", kind="", **ORDERS) == 0


def test_a_scrape_sees_each_of_many_events_once_while_they_come_in(metrics: Metrics) -> None:
    """20,000 tasks finish in batches while another thread scrapes all the time."""
    world = World(metrics)
    world.begin(tasks=20_000)
    done = threading.Event()
    counts: list[float] = []

    def look() -> None:
        while not done.is_set():
            name = "rayorch_attempts_total"
            counts.append(value(metrics, name, outcome="finished", kind="", **ORDERS) or 0.0)

    thread = threading.Thread(target=look)
    thread.start()
    for first in range(0, 20_000, 500):
        world.at_s += 0.01
        world.apply(*(finished(task) for task in range(first, first + 500)))
    done.set()
    thread.join()
    refresh(world)

    assert counts == sorted(counts)
    assert value(metrics, "rayorch_attempts_total", outcome="finished", kind="", **ORDERS) == 20_000
    assert value(metrics, "rayorch_rows_in_total", **NIGHTLY) == 200_000
    assert tasks(metrics) == {"committed": 20_000}
