"""One session of measuring: its folders, its Rays, its sides, and how runs alternate."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import duckdb
import msgspec

from benchmarks import data
from benchmarks.cluster import OwnRay, PeerRay, RayCluster
from benchmarks.driver import COUNTED, Driver, SideFailedError, ended_error
from benchmarks.jobs import Job
from benchmarks.machine import version_of
from benchmarks.peers import PEERS_USUAL, Rays, Side
from benchmarks.places import Place, place_of
from benchmarks.processes import load
from benchmarks.verify import Fingerprint, disorder_of, of_files, written_files
from connectors.errors import StoreError
from rayorch.bench.attempts import attempts_of
from rayorch.bench.figures import Check, summary
from rayorch.bench.results import FailureLine, FigureLine, Measured, Results, RunLine
from rayorch.bench.room import check_room
from rayorch.client import connection
from rayorch.clock import SystemClock
from rayorch.ids import RunId

RUN_S_MAX: Final = 240.0
"""A run that takes longer has failed."""
QUICK_RUN_S_MAX: Final = 20.0
"""The same of one small run: how much longer it takes, a quick look does not ask."""
SIDE_S_MAX: Final = 180.0
"""A side that has taken this long in a workload gets no further run of it."""
SETTLE_S: Final = 1.0
DISK_BYTES: Final = 4 << 30
"""Inputs and outputs of all workloads, as large as they usually are."""
DISK_BYTES_MIN: Final = 256 << 20
TUNED: Final = {"RAY_num_workers_soft_limit": "16"}
"""Ray then keeps Python workers that it would end, and Ray Data spends less time starting them."""

UNSEEN: Final = {"DO_NOT_TRACK": "true", "DAFT_ANALYTICS_ENABLED": "0"}
"""Daft would tell its makers of each import and run, which takes time and asks nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for. `scale` is how many rows there are, over the usual number."""

    runs: int = 5
    peers: tuple[str, ...] = PEERS_USUAL
    slots: int = 2
    scale: float = 1.0
    quick: bool = False
    data: str = ""
    """The URL under which inputs and outputs are; without it they are on the disk."""

    def described(self, workloads: Sequence[str]) -> dict[str, str]:
        """Return what was asked for, as it is kept beside the results."""
        return {
            "workloads": ",".join(workloads),
            "peers": ",".join(self.peers),
            "runs": str(self.runs),
            "slots": str(self.slots),
            "scale": f"{self.scale:g}",
            "quick": str(self.quick).lower(),
            # Which bucket it was is nobody's business, and another one makes the same figures.
            **({"data": self.data.partition("://")[0]} if self.data else {}),
        }

    @property
    def run_s_max(self) -> float:
        """Seconds after which a run of a side has failed."""
        return QUICK_RUN_S_MAX if self.quick else RUN_S_MAX

    def at_full(self, limit: float) -> float | None:
        """Return a target that speaks of a size, where that size is measured: else there is none.

        Of less, reaching it says nothing.
        """
        return limit if self.scale >= 1.0 else None

    def scaled(self, count: int, least: int = 1) -> int:
        """Return so many, at the scale."""
        return max(least, round(count * min(1.0, self.scale)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a figure should be, and how it is shown; `at` is what it is drawn over."""

    limit: float | None = None
    at_least: bool = False
    unit: str = ""
    note: str = ""
    at: float = 0.0


@dataclass(slots=True)
class Session:
    """Holds what several workloads share; as a context, it ends all that it started."""

    options: Options
    results: Results
    cache: Path = field(default_factory=data.cache_folder)
    folder: Path = field(init=False)
    place: Place = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)
    _rays: dict[Rays, RayCluster] = field(default_factory=dict)
    _outputs: int = 0

    def __enter__(self) -> "Session":
        needed = max(DISK_BYTES_MIN, round(DISK_BYTES * self.options.scale))
        fix = "name a folder on a larger disk with XDG_CACHE_HOME, or ask for less with --scale"
        check_room(self.cache, needed, "the data of the benchmarks", fix)
        self.cache.mkdir(parents=True, exist_ok=True)
        # On the disk of the inputs, and a short path: Ray's sockets are not in it.
        folder = tempfile.mkdtemp(prefix="session-", dir=self.cache)
        self.folder = Path(folder)
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            self.place = place_of(self.options.data, self.cache, self.folder)
        except BaseException:
            self._stack.close()
            raise
        self._stack.callback(self._leave)
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _leave(self) -> None:
        try:
            self.place.remove(self.place.root)
        except StoreError as error:
            # What was measured is none the worse for it.
            self.say(f"what this session wrote is still there: {self.place.root}: {error}")

    @property
    def home(self) -> str:
        """Where our runs are kept."""
        return f"{self.place.root}/home"

    @property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0))

    def say(self, text: str) -> None:
        """Tell who waits what is going on."""
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def figure(
        self, workload: str, claim: str, values: Sequence[float], target: Target | None = None
    ) -> None:
        """Keep a number of ours, as often as it was measured; with a target, hold it against."""
        target = target or Target()
        kept = FigureLine(
            workload, claim, tuple(values), target.unit, target.at_least, target.at or None
        )
        if values:
            self.results.add(kept)
        if target.limit is None:
            return
        check = Check(
            workload=workload,
            claim=claim,
            figure=summary(values).median if values else None,
            limit=target.limit,
            at_least=target.at_least,
            unit=target.unit,
            note=target.note,
        )
        self.results.check(check)

    def ray(self, which: Rays) -> RayCluster | None:
        """Return a Ray, started by the first who needs it. Raises: SideFailedError."""
        if which == "none":
            return None
        if which not in self._rays:
            self.say(f"starting Ray ({which})")
            started: RayCluster
            if which == "own":
                started = OwnRay(self.options.slots)
            elif which == "peers":
                started = PeerRay.start(self.options.slots, {})
            else:
                started = PeerRay.start(self.options.slots, TUNED)
            self._rays[which] = started
            self._stack.callback(self.end_ray, which)
        return self._rays[which]

    def end_ray(self, which: Rays) -> None:
        """End a Ray, so that the next who needs one gets a fresh one."""
        found = self._rays.pop(which, None)
        if found is not None:
            found.stop()

    def end_rays(self) -> None:
        """End all of them: after a fault nobody knows what they still do."""
        for which in tuple(self._rays):
            self.end_ray(which)

    def job(self, side: Side, work: "Work") -> Job:
        """Return a side's job, with outputs of its own."""
        self._outputs += 1
        return Job(
            side.kind,
            self.source(work.source),
            f"{self.place.root}/out-{self._outputs}",
            self.source(work.warm),
            f"{self.place.root}/warm-{self._outputs}",
            side.file_format,
            work.tasks,
            self.options.slots,
            work.rows,
            self.source(work.other),
            self.source(work.warm_other),
        )

    def source(self, folder: Path | None) -> str:
        """Return where the sides find an input; nothing, where there is none."""
        return "" if folder is None else self.place.source(folder)

    def drop(self, job: Job) -> None:
        """Delete what a side wrote."""
        for output in (job.target, job.warm_target):
            self.place.remove(output)

    def driver(self, side: Side, job: Job) -> Driver:
        """Start a side's process."""
        cluster = self.ray(side.ray)
        environment = {
            "RAYORCH_HOME": self.home,
            "POLARS_MAX_THREADS": str(self.options.slots),
            **UNSEEN,
        }
        if cluster is not None:
            environment["RAY_ADDRESS"] = cluster.address
        return Driver(side.module, job, self.folder / f"{side.label}.log", environment)

    def with_attempts(self, measured: Measured) -> Measured:
        """Return a run of ours with what its stages and attempts did, read after the clock."""
        run = measured.told.get("run")
        if run is None:
            return measured
        home = connection(self.home, "ray").home
        found = attempts_of(home, SystemClock(), RunId(str(run)))
        if not found.is_whole:
            return measured
        told = {
            **measured.told,
            "gets": found.gets,
            "puts": found.puts,
            "moved_bytes": found.moved_bytes,
            "request_usd": found.request_usd,
        }
        return msgspec.structs.replace(measured, told=told, stages=found.stages, bars=found.bars)

    def roots(self, side: Side) -> tuple[int, ...]:
        """Return the processes, the driver aside, whose families do a side's work."""
        cluster = self.ray(side.ray)
        return () if cluster is None else (cluster.pid,)


T = TypeVar("T")


def printed(module: str, kind: type[T], *arguments: str) -> T:
    """Return what a benchmark prints as its one line, run in a process: its memory is its own.

    Raises: SideFailedError.
    """
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        raise ended_error(done.returncode, done.stderr.decode(errors="replace"))
    return msgspec.json.decode(done.stdout, type=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A workload as all its sides see it."""

    name: str
    source: Path | None = None
    warm: Path | None = None
    tasks: int = 0
    rows: int = 0
    expected: Fingerprint | None = None
    other: Path | None = None  # what the source is joined with
    warm_other: Path | None = None
    order: str = ""  # the column in whose order the rows are to be
    counted: int | None = None  # what a side must tell that writes nothing


def installed(session: Session, workload: str, sides: Sequence[Side]) -> Iterator[Side]:
    """Yield the sides whose library is there; of the others it is said that they are left out."""
    for side in sides:
        if side.library and not version_of(side.library):
            why = f"{side.library} is not installed: pip install 'rayorch[bench]'"
            session.results.add(FailureLine(workload, side.label, why, "skipped"))
        else:
            yield side


def alternate(session: Session, work: Work, sides: Sequence[Side]) -> None:
    """Let sides take turns, A B C A B C, each in a fresh process, until each has had its runs.

    The order turns by one each round, so that no side is always the one after another.
    """
    spent_s = dict.fromkeys((side.label for side in sides), 0.0)
    alive = list(installed(session, work.name, sides))
    for number in range(session.options.runs):
        if not alive:
            return
        turned = alive[number % len(alive) :] + alive[: number % len(alive)]
        for side in turned:
            if spent_s[side.label] > SIDE_S_MAX:
                continue
            try:
                measured = one_run(session, work, side)
            except SideFailedError as error:
                session.say(f"{work.name} {side.label}: failed: {error}")
                at_least_s = session.options.run_s_max if error.kind == "slow" else 0.0
                failure = FailureLine(work.name, side.label, str(error), error.kind, at_least_s)
                session.results.add(failure)
                alive.remove(side)
                # What it left behind would run into the next side's time.
                session.end_ray(side.ray)
                continue
            spent_s[side.label] += measured.wall_s
            line = RunLine(work.name, side.label, number, measured, load()[1])
            session.results.add(line)
            said = f"{measured.wall_s:.2f} s, {measured.cpu_s:.2f} CPU s"
            session.say(f"{work.name} {side.label}: {said}")


def one_run(session: Session, work: Work, side: Side) -> Measured:
    """Let a side do its job once, check what it wrote, and delete that.

    Raises: SideFailedError.
    """
    job = session.job(side, work)
    try:
        with session.driver(side, job) as driver:
            time.sleep(SETTLE_S)
            measured = driver.timed(session.roots(side), session.options.run_s_max)
        return checked(session, session.with_attempts(measured), work, side, job)
    finally:
        session.drop(job)


def checked(session: Session, measured: Measured, work: Work, side: Side, job: Job) -> Measured:
    """Hold what a side wrote or told against what it should be. Raises: SideFailedError."""
    counted = measured.told.get(COUNTED)
    if work.counted is not None and counted is not None and counted != work.counted:
        raise SideFailedError(f"what it counted is wrong: {counted}, not {work.counted}")
    if work.expected is None:
        return measured
    with session.place.local(job.target) as target:
        try:
            files = written_files(target, side.module, job.format)
            if not files and not work.expected.rows:  # Nothing was to come of it, nothing did.
                return measured
            found = of_files(files, work.expected)
            disorder = disorder_of(files, work.order) if work.order else ""
        except duckdb.Error as error:
            raise SideFailedError(f"its output cannot be read: {error}") from error
    if disorder:
        raise SideFailedError(f"its output is in another order: {disorder}")
    if found != work.expected:
        raise SideFailedError(f"its output is wrong: {found}, not {work.expected}")
    return msgspec.structs.replace(measured, told={**measured.told, "files": len(files)})
