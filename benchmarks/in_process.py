"""The keyed jobs in one process each, by CPU seconds: for machines that others use meanwhile.

    python -m benchmarks.in_process join star --runs 3

No Ray, no start-up, no other processes: our in-process executor against DuckDB and Polars. Each run
is a process of its own that first does something small of the same kind. Outputs are not compared
here; `make bench` does.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Final

from benchmarks import data
from benchmarks.jobs import Job
from benchmarks.keyed.data import DEVICE, FACT, ITEM, STATE
from benchmarks.keyed.own import keyed_pipeline

SIDES: Final = ("rayorch", "duckdb", "polars")
OTHERS: Final = {"join": ITEM, "join-wide": ITEM, "asof": STATE, "star": DEVICE}
SLOTS: Final = 2
SMALL_SCALE: Final = 0.001


def one_run(kind: str, side: str) -> None:
    """Do a job once in this process and print its CPU seconds."""
    cache = data.cache_folder()
    other = OTHERS.get(kind)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        job = Job(
            kind,
            str(data.made(FACT, cache)),
            f"{folder}/out",
            str(data.made(data.scaled(FACT, SMALL_SCALE), cache)),
            f"{folder}/warm",
            "parquet",
            0,
            SLOTS,
            0,
            "" if other is None else str(data.made(other, cache)),
        )
        _done(side, job, job.warm_source, job.warm_target, folder)
        cpu_s, wall_s = time.process_time(), time.monotonic()
        _done(side, job, job.source, job.target, folder)
        print(time.process_time() - cpu_s, time.monotonic() - wall_s)


def _done(side: str, job: Job, source: str, target: str, folder: str) -> None:
    # Each imports what it needs alone: the others' threads and memory are not its own.
    if side == "duckdb":
        from benchmarks.sides import duckdb_one  # noqa: PLC0415

        duckdb_one.worked(job, source, job.other, target)
    elif side == "polars":
        from benchmarks.sides import polars_one  # noqa: PLC0415

        polars_one.worked(job.kind, source, job.other, target)
    else:
        _ours(Job(job.kind, source, target, "", "", "parquet", 0, SLOTS, 0, job.other), folder)


def _ours(job: Job, folder: str) -> None:
    import rayorch as ro  # noqa: PLC0415

    made = ro.Pipeline(f"bench-{job.kind}")
    keyed_pipeline(made, job)
    ro.run(made, home=f"{folder}/home", executor="in-process")


def measured(kind: str, side: str) -> tuple[float, float]:
    """Return the CPU and wall seconds of one run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.in_process", kind, "--side", side]
    environment = {**os.environ, "POLARS_MAX_THREADS": str(SLOTS)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{kind} {side} failed:\n{done.stderr}")
    cpu_s, wall_s = done.stdout.split()[-2:]
    return float(cpu_s), float(wall_s)


def main() -> None:
    """Let sides take turns and print the medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="+", choices=sorted({"group", "sort", *OTHERS}))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help="one run of this one, in this process")
    options = parser.parse_args()
    if options.side:
        one_run(options.kinds[0], options.side)
        return
    for kind in options.kinds:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(options.runs):
            for side in SIDES:
                cpu_s, wall_s = measured(kind, side)
                found[side].append(cpu_s)
                print(f"{kind} {side}: {cpu_s:.2f} CPU s, {wall_s:.2f} s", file=sys.stderr)
        medians = {side: statistics.median(runs) for side, runs in found.items()}
        ours = medians["rayorch"]
        ratios = ", ".join(f"{ours / medians[side]:.2f} x {side}" for side in SIDES[1:])
        load = os.getloadavg()[0]
        print(f"{kind}: {ours:.2f} CPU s, {ratios}; load {load:.0f} of {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
