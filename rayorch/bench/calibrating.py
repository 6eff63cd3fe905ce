"""How far simulated runs are off real ones, of sizes that they were not fitted on.

Two pipelines, one of files and one with an exchange, run for real on this machine, with one and
with two runners, and on two unlike pools that are emulated (`rayorch.bench.unlike`). A profile of
one size is simulated at three other sizes, and compared with what runs of these sizes took. All
sizes run in turn, three times, each time another one first, and a run is foretold from the profile
of its own turn: machines are faster in one minute than in another. The middle one of the three
comparisons counts.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.errors import ObjectMissingError
from rayorch.api import Pipeline
from rayorch.bench.figures import Check
from rayorch.bench.room import check_room
from rayorch.capacity.asking import Calibrated
from rayorch.capacity.calibrated import VERSION
from rayorch.capacity.itself import own_pools
from rayorch.capacity.rehearsal import fixed
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.scenarios import Runs, Unsure, runs_of
from rayorch.capacity.thinning import thin_of
from rayorch.client import (
    Connection,
    Control,
    connection,
    failure_text,
    open_control,
    submit_run,
    watch,
)
from rayorch.errors import RunFailedError
from rayorch.ids import RunId
from rayorch.plan.asking import Asked
from rayorch.plan.profile import Profile
from rayorch.version import our_version

FITTED_FILES: Final = 60
TESTED_FILES: Final = (40, 90, 140)
"""Files of the run that is profiled, and of those that are foretold."""
ROUNDS: Final = 3
"""Of all sizes, of which the middle one counts: one alone may have met what else went on."""
RUNNERS: Final = (1, 2)
FILE_ROWS: Final = 100_000
GROUPS: Final = 2_000
STEPS: Final = 200
PIPELINES: Final = ("map", "exchange")
ROW_BYTES: Final = 24
WRITTEN: Final = 12.0
"""Times that each input is written again, at most: by two pipelines, on each set of machines, to a
sink or into an exchange."""
WORKLOAD: Final = "calibrate"
MEDIAN_MAX: Final = 8.0
WORST_MAX: Final = 20.0
COST_MAX: Final = 5.0
"""Targets, in percent."""
SEEDS: Final = 5
"""Simulated runs that a foretold one is the mean of."""
KEPT_S_MAX: Final = 30.0
STILL: Final = Unsure(run=0.0, pools={})


class Compared(msgspec.Struct, frozen=True):
    """One run, foretold and measured. Units: seconds; core seconds, of which cost is made.

    Dollars are known where pools have prices. `where` are the machines that it ran on. `spread_s`
    is what the fastest and the slowest run of its size took: no forecast can be surer.
    """

    pipeline: str
    where: str
    files: int
    measured_s: float
    simulated_s: float
    measured_core_s: float
    simulated_core_s: float
    measured_usd: float | None = None
    simulated_usd: float | None = None
    spread_s: tuple[float, float] | None = None

    @property
    def whole_error(self) -> float:
        """How far off the time is, as a share of what was measured."""
        return abs(self.whole_off)

    @property
    def whole_off(self) -> float:
        """The same, with its sign: above 0 where less was measured than simulated."""
        return self.simulated_s / self.measured_s - 1.0

    @property
    def cost_error(self) -> float:
        """How far off the cost is, as a share of what was measured: dollars, where known."""
        if self.measured_usd and self.simulated_usd is not None:
            return abs(self.simulated_usd / self.measured_usd - 1.0)
        return abs(self.simulated_core_s / self.measured_core_s - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where runs go. `executor` is what `rayorch run --executor` takes."""

    folder: Path
    executor: str
    fitted: int = FITTED_FILES
    tested: Sequence[int] = TESTED_FILES
    rows: int = FILE_ROWS

    @property
    def wanted_bytes(self) -> float:
        """About what it writes: inputs, what is made of them, and what goes through exchanges."""
        sizes = [self.fitted, *self.tested]
        return ROW_BYTES * self.rows * (max(sizes) + ROUNDS * WRITTEN * sum(sizes))


def calibrate(bench: Bench, tell: Callable[[str], None]) -> list[Compared]:
    """Run, simulate and compare on this machine; `tell` hears of each run."""
    found: list[Compared] = []
    for name in PIPELINES:
        for runners in RUNNERS:

            def simulated(fitted: Profile, growth: float, runners: int = runners) -> Runs:
                return foretold(fitted, growth, runners)

            def measured(files: int, name: str = name, runners: int = runners) -> Profile:
                at = connection(str(bench.folder / "home"), bench.executor)
                with closing(open_control(at, slots=runners)) as control:
                    return ran(at, control, pipeline_of(bench, name, files))

            where = f"{runners} runner{'s' * (runners > 1)}"
            found += compared(bench, (name, where), measured, simulated, tell)
    return found


def compared(
    bench: Bench,
    about: tuple[str, str],
    measured: Callable[[int], Profile],
    simulated: Callable[[Profile, float], Runs],
    tell: Callable[[str], None],
) -> list[Compared]:
    """Measure a pipeline of so many files, and simulate it from a run of another number."""
    found = []
    measured(2)  # What is loaded once is loaded.
    sizes = (bench.fitted, *bench.tested)
    turns = [(*sizes[first:], *sizes[:first]) for first in range(ROUNDS)]
    rounds = [{files: measured(files) for files in turn} for turn in turns]
    for files in bench.tested:
        again = []
        for took in rounds:
            fitted = took[bench.fitted]
            runs = simulated(fitted, took[files].source_bytes / fitted.source_bytes)
            again.append(_compared(about, files, took[files], runs))
        times = [each.measured_s for each in again]
        middle = sorted(again, key=lambda each: each.whole_off)[ROUNDS // 2]
        each = msgspec.structs.replace(middle, spread_s=(min(times), max(times)))
        tell(_line(each))
        found.append(each)
    return found


def _compared(about: tuple[str, str], files: int, took: Profile, runs: Runs) -> Compared:
    return Compared(
        pipeline=about[0],
        where=about[1],
        files=files,
        measured_s=took.whole_s,
        simulated_s=float(runs.whole_s.mean()),
        measured_core_s=took.core_s,
        simulated_core_s=3600.0 * float(runs.core_hours.mean()),
        measured_usd=took.usd,
        simulated_usd=runs.mean_usd,
    )


def summary(found: Sequence[Compared]) -> Calibrated:
    """Return what a calibration comes to."""
    whole = [each.whole_error for each in found]
    return Calibrated(
        version=VERSION,
        runs=len(found),
        whole_median=statistics.median(whole),
        whole_worst=max(whole),
        usd_median=statistics.median(each.cost_error for each in found),
        made_by=our_version(),
    )


def checks(found: Calibrated) -> list[Check]:
    """Return the targets of a calibration."""
    return [
        Check(workload=WORKLOAD, claim=claim, figure=100.0 * share, limit=limit, unit="%")
        for claim, share, limit in (
            ("makespan, median error", found.whole_median, MEDIAN_MAX),
            ("makespan, worst error", found.whole_worst, WORST_MAX),
            ("cost, median error", found.usd_median, COST_MAX),
        )
    ]


def foretold(profile: Profile, growth: float, runners: int) -> Runs:
    """Return simulated runs of a profile at another size, on the runners of that run."""
    scaled = scaled_of(profile, growth, runners)
    thin = thin_of(scaled, own_pools(profile), {}, tasks=max(1, scaled.tasks))
    plan = fixed(thin, max(1.0, profile.whole_s * growth))
    return runs_of(plan, SEEDS, 0, STILL, there=dict.fromkeys(profile.runners, 1))


def _line(each: Compared) -> str:
    of = "" if each.spread_s is None else " ({:.2f} to {:.2f})".format(*each.spread_s)
    return (
        f"{each.pipeline}, {each.where}, {each.files} files: measured {each.measured_s:.2f} s{of}, "
        f"simulated {each.simulated_s:.2f} s ({each.whole_off:+.1%}); "
        f"cost off by {each.cost_error:.1%}"
    )


# --- runs ---------------------------------------------------------------------------------------


def make_files(bench: Bench) -> None:
    """Make the inputs of all runs. Raises: SuiteError, where there is no room for them."""
    fix = "name a folder on a larger disk with TMPDIR"
    check_room(bench.folder, bench.wanted_bytes, "the runs of a calibration", fix)
    luck = np.random.default_rng(1)
    for number in range(max([bench.fitted, *bench.tested])):
        table = pa.table(
            {
                "key": luck.integers(0, GROUPS, bench.rows),
                "value": luck.random(bench.rows),
                "other": luck.random(bench.rows),
            }
        )
        pq.write_table(table, bench.folder / f"{number:04d}.parquet")


def ran(
    at: Connection,
    control: Control,
    made: Pipeline,
    asked: Asked | None = None,
) -> Profile:
    """Run a pipeline for real; return its profile. Raises: RunFailedError."""
    begun = submit_run(at, control, made, asked=asked)
    view = watch(at, control, begun, None)
    if view.state != "succeeded":
        raise RunFailedError(view.run, view.state, failure_text(view))
    return msgspec.convert(_profile(at, begun), Profile)


def _profile(at: Connection, run: RunId) -> dict[str, Any]:
    """Return what is kept of a run: by a thread that nobody waits for, where it went to Ray."""
    until_s = at.clock.monotonic_s() + KEPT_S_MAX
    while True:
        try:
            return at.home.get_json(run, "profile")
        except ObjectMissingError:
            if at.clock.monotonic_s() > until_s:
                raise
            at.clock.sleep(0.1)


def pipeline_of(bench: Bench, name: str, files: int) -> Pipeline:
    """Return a pipeline over so many files."""
    made = Pipeline(f"calibrate-{name}")
    urls = [str(bench.folder / f"{number:04d}.parquet") for number in range(files)]
    lines = made.read("lines", urls, split="file")

    def worked(batch: pa.Table) -> pa.Table:
        value = batch["value"]
        for _ in range(STEPS):
            value = pc.sqrt(pc.add(pc.multiply(value, value), batch["other"]))
        return batch.set_column(1, "value", value)

    done = made.map(lines, output="worked")(worked)
    if name == "exchange":
        done = done.aggregate("totals", by="key", value=("value", "sum"), lines=("*", "count"))
    done.write(str(bench.folder / f"out-{name}-{files}"), format="parquet")
    return made


def lines(found: Calibrated) -> Iterator[tuple[str, str]]:
    """Return what a calibration found, in words."""
    yield "runs", f"{found.runs}, of sizes that were not fitted"
    yield "time", f"off by {found.whole_median:.1%} (median), {found.whole_worst:.1%} (worst)"
    yield "cost", f"off by {found.usd_median:.1%} (median)"
