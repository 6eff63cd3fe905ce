"""rayorch, connected to a warm control actor with warm runners."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Final

import psutil
import pyarrow as pa

import rayorch as ro
from benchmarks.driver import serve
from benchmarks.jobs import QTY_BELOW, Job, pareto_turns, scan_map, spin, tiny_map
from benchmarks.keyed.own import exchange_pipeline, exchanged, keyed_pipeline
from rayorch import client
from rayorch.bench.results import Told
from rayorch.host.ray_control import RayControl
from rayorch.observe.view import RunView

WARM_TASKS: Final = 200
WARM_ROWS: Final = 4_096
SUBMITS: Final = 20
BRIEF_S: Final = 0.05
SPIN_ROW: Final = 300
"""Turns of the loop for a row: some 20 us."""


def pipeline(job: Job) -> ro.Pipeline:
    """Return a job as a user would write it."""
    made = ro.Pipeline(f"bench-{job.kind}")
    match job.kind:
        case "scan":
            events = made.read("events", job.source, split="file")
            kept = events.filter(f"qty < {QTY_BELOW}")
            kept.map(scan_map, output="out").write(job.target, format=job.format)
        case "tiny":
            points = made.read("points", job.source)
            points.map(tiny_map, output="out").write(job.target, format=job.format)
        case "tiny-each":
            points = made.read("points", job.source, split="file")
            points.map(tiny_map, output="out").write(job.target, format=job.format)
        case "pareto":
            _numbers(made, job.tasks).map(spinning(job.tasks), output="out").discard()
        case "throttled":
            numbers = made.read("numbers", f"range://{job.rows}?splits={job.tasks}")
            numbers.map(spun_rows, output="out").discard()
        case "noop":
            _numbers(made, job.tasks).map(nothing, output="out").discard()
        case "submit":
            _numbers(made, job.tasks).map(brief, output="out").discard()
        case "skew-join" | "skew-group" | "skew-sort" | "wide":
            exchange_pipeline(made, job)
        case _:
            keyed_pipeline(made, job)
    return made


def _numbers(made: ro.Pipeline, count: int) -> ro.Dataset:
    return made.read("numbers", f"range://{count}?splits={count}")


def nothing(table: pa.Table) -> pa.Table:
    """Return no rows."""
    return table.slice(0, 0)


def spun_rows(table: pa.Table) -> pa.Table:
    """Spend CPU time for each row."""
    spin(SPIN_ROW * table.num_rows)
    return table


def brief(table: pa.Table) -> pa.Table:
    """Take long enough for the start to be told of: a runner is silent about what ends at once."""
    time.sleep(BRIEF_S)
    return table


def spinning(tasks: int) -> Callable[[pa.Table], pa.Table]:
    """Return a function that spends the CPU time of the task whose number it is given."""
    turns = pareto_turns(tasks)

    def out(table: pa.Table) -> pa.Table:
        for number in table["id"].to_pylist():
            spin(turns[number])
        return table

    return out


def prepare(job: Job) -> Callable[[], Told]:
    """Connect, and run something small of the same kind."""
    at = client.connection(os.environ["RAYORCH_HOME"], "ray")
    control = client.open_control(at)
    assert isinstance(control, RayControl)
    warm_tasks = WARM_TASKS if job.kind == "noop" else 4
    warm = Job(
        job.kind,
        job.warm_source,
        job.warm_target,
        format=job.format,
        tasks=warm_tasks,
        rows=WARM_ROWS,
        other=job.warm_other,
    )
    _done(at, control, warm)
    if job.kind == "submit":
        return lambda: _submits(at, control, job)
    pid = control.info().pid

    def work() -> Told:
        view = _done(at, control, job)
        peak = psutil.Process(pid).memory_full_info()
        return {
            "run": str(view.run),
            "tasks": view.tasks,
            "attempt_cpu_s": view.totals.cpu_s,
            "rows_out": view.totals.rows_out,
            "run_s": view.finished_s - view.submitted_s,
            "control_rss_bytes": peak.rss,
            "control_peak_bytes": _peak_bytes(pid),
            "control_cpu_s": sum(psutil.Process(pid).cpu_times()[:2]) - before,
            **exchanged(at.home, view),
        }

    before = sum(psutil.Process(pid).cpu_times()[:2])
    return work


def _done(at: client.Connection, control: client.Control, job: Job) -> RunView:
    run = client.submit_run(at, control, pipeline(job))
    view = client.watch(at, control, run, None)
    if view.state != "succeeded":
        raise RuntimeError(client.failure_text(view))
    return view


def _submits(at: client.Connection, control: client.Control, job: Job) -> Told:
    """Submit many small runs, one after the other, and time each until its first task started."""
    waits_s = []
    for _ in range(SUBMITS):
        made = pipeline(job)
        began_s = time.time()
        run = client.submit_run(at, control, made)
        view = client.watch(at, control, run, None)
        # The control actor's wall clock, on this machine: the same one.
        waits_s.append(view.first_start_s - began_s)
    return {"median_s": statistics.median(waits_s), "worst_s": max(waits_s)}


def _peak_bytes(pid: int) -> int:
    """Return the highest resident size that a process ever had."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    serve(prepare)
