"""What is known of a run under way, and the problem that is left of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from placement.errors import InvalidProblemError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from placement.model import Dep, Held, Problem, Running, TaskClass


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known of a run at `now_s`, against the problem that its plan was made for.

    `done` tasks per class and where their output is (`at`, location by class); `held` nodes and the
    tasks `running` on them, which are not in `done`; `down` spot pools that are gone; `usd_h`
    prices that changed; `slower` factor by which the tasks of a class took longer than that problem
    says, with `measured` how many were timed; `new` more classes; `reclaimed` pools that lost nodes
    since that plan was made.
    """

    now_s: float
    done: Mapping[str, int] = field(default_factory=dict)
    at: Mapping[str, str] = field(default_factory=dict)
    held: tuple[Held, ...] = ()
    running: tuple[Running, ...] = ()
    down: tuple[str, ...] = ()
    usd_h: Mapping[str, float] = field(default_factory=dict)
    slower: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, int] = field(default_factory=dict)
    new: tuple[TaskClass, ...] = ()
    reclaimed: tuple[str, ...] = ()
    spent_usd: float = 0.0


def remaining(problem: Problem, observed: Observed) -> Problem | None:
    """Give the problem that is left, or None when all is done.

    Output of finished parents becomes input that lies in the store of its location; tasks that run
    stay in their class, and in `Problem.running`.
    Raises: InvalidProblemError for a class, pool or count that the problem does not have.
    """
    every = {c.name: c for c in (*problem.classes, *observed.new)}
    check_names(problem, observed)
    for name, done in observed.done.items():
        if not 0 <= done <= every[name].count:
            most = f"must be from 0 to {every[name].count}"
            raise InvalidProblemError(f"observed.done[{name!r}]", most, repr(done))
    left = {name: cls.count - observed.done.get(name, 0) for name, cls in every.items()}
    classes = tuple(_left_over(every[n], every, left, observed) for n in every if left[n] > 0)
    if not classes:
        return None
    pools = tuple(replace(p, usd_h=observed.usd_h.get(p.name, p.usd_h)) for p in problem.pools)
    return replace(
        problem,
        classes=classes,
        pools=pools,
        now_s=observed.now_s,
        held=observed.held,
        running=observed.running,
        down=observed.down,
        spent_usd=observed.spent_usd,
    )


def check_names(problem: Problem, observed: Observed) -> None:
    """Refuse an observation of classes and pools that the problem does not have."""
    classes = {c.name for c in (*problem.classes, *observed.new)}
    pools = {p.name for p in problem.pools}
    named: tuple[tuple[str, Iterable[str], set[str], str], ...] = (
        ("done", observed.done, classes, "class"),
        ("at", observed.at, classes, "class"),
        ("slower", observed.slower, classes, "class"),
        ("measured", observed.measured, classes, "class"),
        ("usd_h", observed.usd_h, pools, "pool"),
        ("reclaimed", observed.reclaimed, pools, "pool"),
        ("down", observed.down, pools, "pool"),
    )
    for where, names, known, what in named:
        for name in names:
            if name not in known:
                raise InvalidProblemError(f"observed.{where}", f"unknown {what}", repr(name))


def _left_over(
    cls: TaskClass, every: Mapping[str, TaskClass], left: Mapping[str, int], observed: Observed
) -> TaskClass:
    """A class without its finished tasks, reading from storage what its parents have finished."""
    deps: list[Dep] = []
    in_gb, source = cls.in_gb, cls.source
    for dep in cls.deps:
        parent = every[dep.parent]
        read = _stored_gb(cls, parent, dep, left)
        in_gb += read
        if read > cls.in_gb and dep.parent in observed.at:
            source = observed.at[dep.parent]
        if left[dep.parent] > 0:
            deps.append(dep)
    return replace(
        cls,
        count=left[cls.name],
        work_s=cls.work_s * observed.slower.get(cls.name, 1.0),
        in_gb=in_gb,
        source=source,
        deps=tuple(deps),
    )


def _stored_gb(cls: TaskClass, parent: TaskClass, dep: Dep, left: Mapping[str, int]) -> float:
    """GB that a task which is left reads of what a parent has finished.

    One to one, what the finished tasks of the class have read is nobody's input any more.
    """
    finished = parent.count - left[parent.name]
    if dep.mode == "all":
        return finished * parent.out_gb / cls.count
    read = (cls.count - left[cls.name]) * parent.count / cls.count
    return max(0.0, finished - read) * parent.out_gb / left[cls.name]
