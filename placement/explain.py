"""Why a class runs where it does: seconds, dollars, bytes and risk of each pool."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.greedy import work_s
from placement.scenarios import mean_scenario
from placement.simulate import ClassSimulator
from placement.tables import Floats, Tables, missing_labels, tables_of

if TYPE_CHECKING:
    from placement.layout import Layout
    from placement.model import Pool, Problem, TaskClass


# Less than this share is shown as 0 %: it is no reason.
_SHOWN: Final = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolOption:
    """One pool for one class.

    Units: `task_s` mean seconds of a task, `usd` for the whole class perfectly packed, egress
    apart; `moved_gb` over the wide area; `loss` is the chance that the pool goes away meanwhile.
    `tasks` is how many the plan runs there, and `reason` why not all of them.
    """

    pool: str
    tasks: float
    task_s: float
    usd: float
    egress_usd: float
    moved_gb: float
    loss: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassChoice:
    """Where a class runs and when, with every pool that was open to it, chosen ones first."""

    name: str
    start_s: float
    finish_s: float
    options: tuple[PoolOption, ...]


def explain(problem: Problem, layout: Layout) -> tuple[ClassChoice, ...]:
    """Compare, for each class, the pools that the layout uses with those that it does not."""
    tables = tables_of(problem)
    sample = ClassSimulator(problem, tables, mean_scenario(problem)).run(layout)
    tasks = np.zeros(tables.fits.shape)
    start = np.full(len(problem.classes), np.inf)
    for p, part in enumerate(layout.parts):
        start[part.cls] = min(start[part.cls], sample.ready_s[p])
        for f, fleet in enumerate(layout.fleets):
            tasks[part.cls, fleet.pool] += sample.tasks[p, f]
    end_s = float(sample.end_s[0])
    return tuple(
        ClassChoice(
            name=cls.name,
            start_s=float(start[k]),
            finish_s=float(sample.done_s[k]),
            options=_options(problem, tables, k, tasks, end_s - problem.now_s),
        )
        for k, cls in enumerate(problem.classes)
    )


def _options(
    problem: Problem, tables: Tables, k: int, tasks: Floats, span_s: float
) -> tuple[PoolOption, ...]:
    cls, each = problem.classes[k], work_s(problem, tables)[k]
    lanes = np.maximum(tables.lanes[k], 1)
    usd = each * tables.usd_s / lanes * cls.count
    moved, egress = _transfers(problem, tables, k, tasks)
    total = np.where(tables.fits[k], usd + egress, np.inf)
    chosen = np.flatnonzero(tasks[k] > 0)
    paid = float(total[chosen].min()) if chosen.size else math.inf
    quickest = float(each[chosen].min()) if chosen.size else math.inf
    loss = [_loss(pool, span_s) for pool in problem.pools]
    up_s = [pool.provision_s + pool.boot_s for pool in problem.pools]

    def against(p: int) -> str:
        if not chosen.size:
            return "the plan runs nothing of it"
        dearer = float(total[p]) / paid if paid > 0 else 1.0
        riskier = loss[p] - min(loss[c] for c in chosen)
        later_s = up_s[p] - min(up_s[c] for c in chosen)
        return _reason(dearer, float(each[p]) / quickest, riskier, later_s)

    order = sorted(range(len(problem.pools)), key=lambda p: (-tasks[k, p], total[p], p))
    return tuple(
        PoolOption(
            pool=problem.pools[p].name,
            tasks=float(tasks[k, p]),
            task_s=float(each[p]),
            usd=float(usd[p]),
            egress_usd=float(egress[p]),
            moved_gb=float(moved[p]),
            loss=loss[p],
            reason="chosen"
            if tasks[k, p] > 0
            else _lacks(cls, problem.pools[p]) or (against(p) if tables.fits[k, p] else _SPARED),
        )
        for p in order
    )


def _transfers(problem: Problem, tables: Tables, k: int, tasks: Floats) -> tuple[Floats, Floats]:
    """GB that cross locations when the class runs on each pool, and their price.  Shapes: (P,)."""
    cls, locations = problem.classes[k], len(tables.locations)
    gb = np.zeros(locations)
    gb[tables.source_loc[k]] += cls.in_gb * cls.count
    for parent, _, read in tables.parents[k]:
        total = max(float(tasks[parent].sum()), 1e-9)
        for p in np.flatnonzero(tasks[parent] > 0):
            gb[tables.pool_loc[p]] += cls.count * read * tasks[parent, p] / total
    away = tables.pool_loc[:, None] != np.arange(locations)[None, :]
    moved = (away * gb[None, :]).sum(axis=1)
    egress = (tables.egress_usd_gb[:, tables.pool_loc].T * gb[None, :]).sum(axis=1)
    return moved, egress


def _loss(pool: Pool, span_s: float) -> float:
    """Chance that a pool is gone at some time of the run."""
    spot = pool.spot
    if spot is None:
        return 0.0
    if spot.trace_up:
        steps = max(1, math.ceil(span_s / spot.gap_s))
        up = np.array(spot.trace_up)
        rolled = [up[(np.arange(steps) + k) % up.size].all() for k in range(up.size)]
        return 1.0 - float(np.mean(rolled))
    rate = spot.reclaims_per_h / 3600.0
    return 1.0 - math.exp(-rate * span_s) / (1.0 + rate * spot.outage_s)


_SPARED = "has GPUs, which are kept for what needs them"


def _lacks(cls: TaskClass, pool: Pool) -> str:
    """Say why a class cannot run on a pool; empty: it can."""
    if pool.speed.get(cls.kind, 0.0) <= 0:
        return f"no speed for kind {cls.kind!r}"
    for name, need, have in (
        ("vcpu", cls.slots, pool.vcpu),
        ("mem_gb", cls.mem_gb, pool.mem_gb),
        ("gpus", cls.gpus, pool.gpus),
    ):
        if need > have:
            return f"too small: needs {name}={need:g}, has {have:g}"
    if labels := missing_labels(cls, pool):
        return f"lacks the labels {', '.join(labels)}"
    if pool.nodes_max <= 0:
        return "no nodes: nodes_max=0"
    return ""


def _reason(dearer: float, slower: float, riskier: float, later_s: float) -> str:
    """Say all that differs from the pools that were chosen, what speaks against it first.

    Differences that would be shown as nothing are none; the factors are of cost and run time,
    `riskier` is a difference in the chance to go away, `later_s` in start-up.
    """
    against, in_favour = [], []
    for factor, worse, better in (
        (dearer, "dearer", "cheaper"),
        (slower, "slower", "quicker"),
    ):
        if factor - 1.0 >= _SHOWN:
            against.append(f"{worse} by {factor - 1.0:.0%}")
        elif 1.0 - factor >= _SHOWN:
            in_favour.append(f"{better} by {1.0 - factor:.0%}")
    if riskier >= _SHOWN:
        against.append(f"{riskier:.0%} likelier to go away")
    elif riskier <= -_SHOWN:
        in_favour.append(f"{-riskier:.0%} less likely to go away")
    if later_s >= 1.0:
        against.append(f"up {later_s:.0f} s later")
    if against and in_favour:
        return f"{', '.join(against)}, though {', '.join(in_favour)}"
    if against:
        return ", ".join(against)
    return f"{', '.join(in_favour)}, but not needed" if in_favour else "as good, but not needed"
