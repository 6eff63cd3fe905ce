"""The problem: work in classes, machines in pools, what data costs to move, and what is wanted.

A class is a set of alike tasks (stage x size bucket x input location), so that a hundred thousand
tasks are a few variables.  Everything is a frozen value; `Problem` checks the rules between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from placement.errors import InvalidProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DepMode = Literal["all", "one"]

# Tasks never appear as variables, so only classes bound the work; beyond this a planner that
# buckets by size has gone wrong, and an answer would take minutes.
CLASSES_MAX: Final = 10_000
POOLS_MAX: Final = 1_000
SPLIT_MAX: Final = 2.0


def _require(ok: bool, where: str, what: str, value: object) -> None:
    if not ok:
        raise InvalidProblemError(where, what, repr(value))


def _number(value: float, where: str, *, low: float = 0.0, above: bool = False) -> None:
    """Refuse a value that is not finite, or below `low` (or equal to it, with `above`)."""
    _require(math.isfinite(value), where, "a finite number is needed", value)
    bound_ok = value > low if above else value >= low
    _require(bound_ok, where, f"must be {'above' if above else 'at least'} {low:g}", value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dep:
    """An input from another class: every task of it (`all`), or the tasks that overlap (`one`)."""

    parent: str
    mode: DepMode = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClass:
    """`count` alike tasks.

    Units: `work_s` is mean seconds at speed 1; `cv` its coefficient of variation (lognormal);
    gigabytes per task; `gets` and `puts` are object-store requests per task.  A pool must have all
    of its `labels`.  `splittable` tasks can be cut where they are under way: none takes longer than
    SPLIT_MAX times the mean, and what is cut off is spread over the others.
    """

    name: str
    count: int
    work_s: float
    cv: float = 0.0
    kind: str = "cpu"
    stage: str = ""
    slots: float = 1
    mem_gb: float = 0.0
    gpus: float = 0
    in_gb: float = 0.0
    source: str = ""
    out_gb: float = 0.0
    deps: tuple[Dep, ...] = ()
    gets: float = 0.0
    puts: float = 0.0
    splittable: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"class {self.name!r}"
        _require(bool(self.name), "class", "a name is needed", self.name)
        _require(
            self.count >= 1 and int(self.count) == self.count,
            f"{where}.count",
            "must be a whole number, at least 1",
            self.count,
        )
        for name in ("work_s", "cv", "mem_gb", "gpus", "in_gb", "out_gb", "gets", "puts"):
            _number(getattr(self, name), f"{where}.{name}")
        _number(self.slots, f"{where}.slots", above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """How a spot pool comes and goes, always as a whole.

    Either exponential (`reclaims_per_h` while up, `outage_s` mean gap) or a measured trace of
    availability, one flag every `gap_s`, entered at a random place.
    """

    reclaims_per_h: float = 0.0
    outage_s: float = 0.0
    trace_up: tuple[bool, ...] = ()
    gap_s: float = 0.0

    def __post_init__(self) -> None:
        _number(self.reclaims_per_h, "spot.reclaims_per_h")
        _number(self.outage_s, "spot.outage_s")
        if self.trace_up:
            _number(self.gap_s, "spot.gap_s", above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Machines that are alike.

    Units: `speed` per kind of work, 1 is the machine that `work_s` was measured on; `speed_cv` how
    far a pool's real speed may lie from it; `provision_s` request to running (free), `boot_s`
    running to working (paid), `startup_cv` their spread.
    """

    name: str
    vcpu: float
    mem_gb: float
    speed: Mapping[str, float]
    usd_h: float
    loc: str = ""
    gpus: float = 0
    net_gbps: float = 10.0
    provision_s: float = 0.0
    boot_s: float = 0.0
    min_bill_s: float = 60.0
    bill_s: float = 1.0
    nodes_max: int = 1_000_000
    spot: Spot | None = None
    speed_cv: float = 0.0
    startup_cv: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"pool {self.name!r}"
        _require(bool(self.name), "pool", "a name is needed", self.name)
        for name in ("usd_h", "gpus", "mem_gb", "provision_s", "boot_s", "min_bill_s", "speed_cv"):
            _number(getattr(self, name), f"{where}.{name}")
        _number(self.startup_cv, f"{where}.startup_cv")
        for name in ("vcpu", "net_gbps", "bill_s"):
            _number(getattr(self, name), f"{where}.{name}", above=True)
        _require(self.nodes_max >= 0, f"{where}.nodes_max", "must be at least 0", self.nodes_max)
        for kind, factor in self.speed.items():
            _number(factor, f"{where}.speed[{kind!r}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What it costs and how fast it is to read from another location."""

    egress_usd_gb: Mapping[tuple[str, str], float] = field(default_factory=dict)
    wan_gbps: float = 10.0
    get_usd: float = 0.0
    put_usd: float = 0.0

    def __post_init__(self) -> None:
        _number(self.wan_gbps, "network.wan_gbps", above=True)
        _number(self.get_usd, "network.get_usd")
        _number(self.put_usd, "network.put_usd")
        for (src, dst), usd in self.egress_usd_gb.items():
            _number(usd, f"network.egress_usd_gb[{src}, {dst}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """Least cost such that `confidence` of all runs end by `at_s`."""

    at_s: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        _number(self.at_s, "deadline.at_s", low=-math.inf)
        _require(
            0.0 < self.confidence < 1.0, "deadline.confidence", "must be in (0, 1)", self.confidence
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Earliest finish such that the mean cost is at most `usd`."""

    usd: float

    def __post_init__(self) -> None:
        _number(self.usd, "budget.usd", above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """Least cost plus `usd_per_h` for each hour that the run takes."""

    usd_per_h: float

    def __post_init__(self) -> None:
        _number(self.usd_per_h, "weighted.usd_per_h")


Objective = Deadline | Budget | Weighted


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Nodes that are there already: `count` of them, usable from `ready_s`, paid since `up_s`."""

    pool: str
    count: int
    up_s: float
    ready_s: float

    def __post_init__(self) -> None:
        _require(self.count >= 1, "held.count", "must be at least 1", self.count)
        for name in ("up_s", "ready_s"):
            _number(getattr(self, name), f"held.{name}", low=-math.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Tasks under way: `count` of class `cls` on held nodes of `pool`, begun `elapsed_s` ago.

    They are among the tasks of their class, and stay where they are; `elapsed_s` is a mean: tasks
    that began at very different times are better given one by one.
    """

    cls: str
    pool: str
    count: int
    elapsed_s: float

    def __post_init__(self) -> None:
        _require(self.count >= 1, "running.count", "must be at least 1", self.count)
        _number(self.elapsed_s, "running.elapsed_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """All that a solver may know.

    Units: seconds on the caller's clock, of which `now_s` is the present; `held` are the nodes that
    are there, `running` the tasks under way on them, `down` the spot pools that are gone now, and
    `spent_usd` what the run has cost so far.
    `now_s` is 0 for a run that has not begun.  With `spares_gpus`, what needs no GPU goes to
    machines that have some only where no others can do it.
    Raises: InvalidProblemError, naming the field and its value.
    """

    classes: tuple[TaskClass, ...]
    pools: tuple[Pool, ...]
    objective: Objective
    network: Network = field(default_factory=Network)
    now_s: float = 0.0
    held: tuple[Held, ...] = ()
    running: tuple[Running, ...] = ()
    down: tuple[str, ...] = ()
    spent_usd: float = 0.0
    spares_gpus: bool = False

    def __post_init__(self) -> None:
        _require(bool(self.pools), "pools", "at least one pool is needed", self.pools)
        _require(bool(self.classes), "classes", "at least one task is needed", self.classes)
        _require(
            len(self.classes) <= CLASSES_MAX,
            "classes",
            f"at most {CLASSES_MAX} classes: merge size buckets",
            len(self.classes),
        )
        _require(len(self.pools) <= POOLS_MAX, "pools", f"at most {POOLS_MAX}", len(self.pools))
        _unique((c.name for c in self.classes), "classes")
        _unique((p.name for p in self.pools), "pools")
        _number(self.now_s, "now_s", low=-math.inf)
        _number(self.spent_usd, "spent_usd")
        if isinstance(self.objective, Deadline):
            _require(
                self.objective.at_s > self.now_s,
                "deadline.at_s",
                f"the deadline has passed: now_s={self.now_s:g}",
                self.objective.at_s,
            )
        _check_held(self)
        _check_running(self)
        topological(self.classes)

    @property
    def tasks(self) -> int:
        """Number of tasks over all classes."""
        return sum(c.count for c in self.classes)


def _unique(names: Iterable[str], where: str) -> None:
    seen: set[str] = set()
    for name in names:
        _require(name not in seen, where, "names must differ", name)
        seen.add(name)


def _check_held(problem: Problem) -> None:
    known = {p.name for p in problem.pools}
    for held in problem.held:
        _require(held.pool in known, "held.pool", "unknown pool", held.pool)
    for name in problem.down:
        _require(name in known, "down", "unknown pool", name)


def _check_running(problem: Problem) -> None:
    classes = {c.name: c for c in problem.classes}
    pools = {p.name: p for p in problem.pools}
    held = {h.pool for h in problem.held}
    left = {c.name: c.count for c in problem.classes}
    for run in problem.running:
        _require(run.cls in classes, "running.cls", "unknown class", run.cls)
        _require(run.pool in held, "running.pool", "no node of the pool is held", run.pool)
        speed = pools[run.pool].speed.get(classes[run.cls].kind, 0.0)
        _require(speed > 0, "running.pool", f"the pool cannot run class {run.cls!r}", run.pool)
        left[run.cls] -= run.count
        where = f"running.count of class {run.cls!r}"
        _require(left[run.cls] >= 0, where, "more tasks run than there are", run.count)


def topological(classes: tuple[TaskClass, ...]) -> tuple[int, ...]:
    """Give class indices so that parents come before children, ties in the order given.

    Raises: InvalidProblemError, naming an unknown parent or the classes on a cycle.
    Source: Kahn 1962.
    """
    index = {c.name: k for k, c in enumerate(classes)}
    kids: list[list[int]] = [[] for _ in classes]
    open_deps = [0] * len(classes)
    for k, cls in enumerate(classes):
        for dep in cls.deps:
            where = f"class {cls.name!r}.deps"
            _require(dep.parent in index, where, "unknown parent", dep.parent)
            kids[index[dep.parent]].append(k)
            open_deps[k] += 1
    ready = [k for k, n in enumerate(open_deps) if n == 0]
    order: list[int] = []
    for k in ready:  # grows while it is read: a queue
        order.append(k)
        for kid in kids[k]:
            open_deps[kid] -= 1
            if open_deps[kid] == 0:
                ready.append(kid)
    stuck = [classes[k].name for k, n in enumerate(open_deps) if n > 0]
    _require(not stuck, "classes", "stages depend on each other in a cycle", stuck[:8])
    return tuple(order)
