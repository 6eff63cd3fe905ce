"""What lost against the chosen plan, and by how much, on the luck that the choice was made on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from placement.greedy import work_s
from placement.model import Deadline
from placement.plan import Candidate, Forecast
from placement.sample import quantile_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placement.layout import Layout
    from placement.model import Problem
    from placement.risk import Goal
    from placement.sample import Sample
    from placement.search import Search
    from placement.tables import Tables


def compared(
    search: Search, goal: Goal, heard: Mapping[Layout, Sample], chosen: Layout, forecast: Forecast
) -> list[Candidate]:
    """Give each layout that was heard beside the chosen one, both in the same scenarios.

    What a search believes of its plans is better than they are: only layouts that were heard are
    compared.  Costs and finish times are those of the forecast, moved by the difference that the
    two have on common luck, which is known far better than either.
    """
    mine, problem = heard[chosen], search.problem
    found = []
    for layout, sample in heard.items():
        if layout == chosen:
            continue
        # What is far off was heard on the first few scenarios only.
        size = sample.end_s.size
        ratio = sample.mean_usd / max(float(mine.usd[:size].mean()), 1e-12)
        later_s = sample.quantile_s(0.95) - quantile_s(mine.end_s[:size], 0.95)
        at_s = problem.objective.at_s if isinstance(problem.objective, Deadline) else None
        found.append(
            Candidate(
                name=search.names.get(layout, "search"),
                usd=problem.spent_usd + (forecast.usd - problem.spent_usd) * ratio,
                p95_s=forecast.p95_s + later_s,
                hit=1.0 if at_s is None else 1.0 - sample.miss_share(at_s),
                is_kept=goal.is_kept(sample),
            )
        )
    return found


def elsewhere(problem: Problem, tables: Tables, layout: Layout) -> Iterator[tuple[str, Layout]]:
    """Give a layout with all its new nodes from one other pool, the cheapest for the work first.

    Where all starts came to the same plan, these are what it is compared with.
    """
    usd = work_s(problem, tables) * tables.share * tables.usd_s * tables.count[:, None]
    fit = tables.fits.all(axis=0)
    for q in np.argsort(np.where(fit, usd.sum(axis=0), np.inf), kind="stable")[: int(fit.sum())]:
        pool = problem.pools[q]
        fleets = tuple(
            f if f.held >= 0 else replace(f, pool=int(q), count=min(f.count, pool.nodes_max))
            for f in layout.fleets
        )
        asked = sum(f.count for f in fleets if f.pool == q)
        if fleets != layout.fleets and asked <= pool.nodes_max:
            yield f"all on {pool.name}", replace(layout, fleets=fleets)
