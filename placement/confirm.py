"""The last word on a plan: fresh luck, at event level where that can be afforded."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from placement.compare import compared, elsewhere
from placement.evaluate import EVENT_S, Scored, horizon_s, sample_events
from placement.greedy import within_depth
from placement.improve import anneal
from placement.model import Budget, Deadline, Problem
from placement.plan import Candidate, Forecast
from placement.risk import Goal, hit_interval
from placement.scenarios import draw, first, is_random
from placement.search import rescored
from placement.simulate import ClassSimulator
from placement.starts import is_served

if TYPE_CHECKING:
    from placement.layout import Layout
    from placement.sample import Sample
    from placement.scenarios import Scenarios
    from placement.search import Search
    from placement.tables import Tables

_SIZE_MAX: Final = 500
_SIZE_MIN: Final = 40
_EVENT_SIZE_MIN: Final = 200
_FINALISTS: Final = 6
# What is late in more than this share of the first few is not run on the others.
_FEW: Final = 120
_FAR_OFF: Final = 0.05
# On so many scenarios a plan may miss a little more often than on those that it was chosen on.
_RESERVE_FRESH: Final = 0.5
_RESERVE_WIDE: Final = 0.43
_ROUNDS: Final = 5
# Phases of the search before: their luck is not met again.
_PHASES: Final = 8
_ROUND_SHARE: Final = 0.12
# A round moves the deadline forward by at most this share of the time.
_TIGHTEN_MAX: Final = 0.03
# What is about as dear as a plan that failed is much the same plan.
_UNLIKE: Final = 1.01
# Share of the time limit that is kept for the forecast of the chosen plan.
_RESERVE: Final = 0.1
_RESCUES: Final = (1.06, 1.12, 1.2, 1.3, 1.5, 2.0, 3.0)
# Starts that were kept, tried before any is widened.
_SAFE: Final = 2
# All the confirmations of a solve together may take this share of its time limit.
_SHARE: Final = 0.25
# Starts that are heard for the explanation alone.
_STARTS_HEARD: Final = 4


def choose(search: Search, found: list[Scored]) -> tuple[Scored, Sample]:
    """Choose on fresh luck among all that was found; search on more luck while time remains.

    Gives what the chosen one comes to on luck that took no part in this either.
    """
    jury = _Jury(search)
    search.goal = replace(search.goal, reserve=max(_RESERVE_WIDE, search.goal.reserve))
    pool = {s.layout: s for s in found}
    begun: set[Layout] = set()
    for turn in range(_ROUNDS):
        first_late_s = jury.hear(_ranked(search, pool))
        # Another round ends with a hearing or two, and the forecast is one more.
        spare_s = search.budget.left_s - 3.0 * jury.hearing_s
        if spare_s <= _ROUND_SHARE * search.budget.limit_s / 2:
            break
        if turn:
            # So many scenarios were still too few, or the class level is wrong: ask for more.
            tighten_s = search.goal.tighten_s + first_late_s
            search.goal = replace(search.goal, tighten_s=tighten_s)
        # What is a little late on the luck of the search may be mended for less than what is not.
        leaders = [*jury.leaders, min(pool.values(), key=lambda s: s.score)]
        leaders = [s for s in leaders if s.layout not in begun] or [jury.best]
        heads = rescored(search, leaders, _PHASES + turn, size_max=_SIZE_MAX)
        start = min(heads, key=lambda s: s.score)
        begun.add(start.layout)
        time = search.budget.slice_of(_ROUND_SHARE)
        walk = anneal(start, search.evaluator, search.goal, time, search.rng)
        pool = {s.layout: s for s in walk}
    if not jury.is_kept:
        jury.hear(_ranked(search, pool))
    jury.rescue(pool)
    jury.hear_starts()
    sample = on_fresh_luck(search, jury.best.layout)
    search.candidates = jury.compared(forecast_of(search.problem, search.tables, sample))
    return jury.best, sample


def _ranked(search: Search, pool: dict[Layout, Scored]) -> list[Scored]:
    """What keeps the objective on the luck of the search first, the cheapest of it first."""
    goal = search.goal
    return sorted(pool.values(), key=lambda s: (not goal.is_kept(s.sample), goal.score(s.sample)))


class _Jury:
    """Judges layouts on fresh luck; a kept promise comes before any price."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._goal = replace(search.goal, reserve=max(_RESERVE_FRESH, search.goal.reserve))
        self._fresh = Confirmation(search, search.seed + 1)
        self._heard: dict[Layout, None] = {}
        self._best: tuple[bool, float, Scored] | None = None
        self._failed: tuple[float, Scored] | None = None

    @property
    def best(self) -> Scored:
        """The best layout heard so far."""
        assert self._best is not None
        return self._best[2]

    @property
    def leaders(self) -> list[Scored]:
        """The best layout, and the cheapest that failed: to mend it may come cheaper."""
        return [self.best, *([self._failed[1]] if self._failed else [])]

    @property
    def is_kept(self) -> bool:
        """Whether the best layout keeps the objective on fresh luck."""
        return self._best is not None and not self._best[0]

    @property
    def hearing_s(self) -> float:
        """Seconds that one layout takes to be judged, about."""
        return self._fresh.run_s

    def hear(self, ranked: list[Scored]) -> float:
        """Judge some layouts until one keeps its promise; seconds by which the first is too late.

        Those that follow a failure are a little dearer each: its neighbours would fail as well.
        """
        late_s, heard, last = None, 0, 0.0
        for scored in ranked:
            score = self._goal.score(scored.sample)
            is_alike = last <= score < _UNLIKE * last
            if late_s is not None and (scored.layout in self._heard or is_alike):
                continue
            sample = self._judge(scored)
            late_s = _overrun_s(self._goal, sample) if late_s is None else late_s
            heard, last = heard + 1, score
            if self._goal.is_kept(sample) or heard == _FINALISTS or self._is_pressed():
                break
        return late_s or 0.0

    def rescue(self, pool: dict[Layout, Scored]) -> None:
        """Try the safest starts, and widen the best that failed when it may beat what is kept.

        What costs too much is not widened: the cheapest of all are tried.
        """
        safe = self._search.safe
        if isinstance(self._search.problem.objective, Budget):
            self._judge_all(sorted(pool.values(), key=lambda s: s.sample.mean_usd))
            return
        self._judge_all(safe[:_SAFE])
        if self._failed is not None:
            self._widen(*self._failed)
        self._judge_all(safe[_SAFE:])

    def _judge_all(self, found: list[Scored]) -> None:
        """Judge some layouts, unless one that is kept is known."""
        if not self.is_kept:
            for scored in found[:_FINALISTS]:
                self._judge(scored)

    def _widen(self, usd: float, failed: Scored) -> None:
        """Widen what failed until it is kept, or dearer than what is."""
        problem, tables = self._search.problem, self._search.tables
        tried = failed.layout
        for factor in _RESCUES:
            if self.is_kept and self._best is not None and self._best[1] < factor * usd:
                break
            layout = widened(problem, failed.layout, factor)
            if layout != tried and is_served(tables, layout):
                self._judge(Scored(failed.score, layout, failed.sample))
            tried = layout

    def hear_starts(self) -> None:
        """Judge the best few starts too: what is told of them, must be what they come to."""
        named = {s.layout: s for s in reversed(self._search.noted) if s.layout not in self._heard}
        for scored in sorted(named.values(), key=lambda s: s.score)[:_STARTS_HEARD]:
            self._judge(scored)
        search = self._search
        for name, layout in elsewhere(search.problem, search.tables, self.best.layout):
            if len(self._heard) > _STARTS_HEARD:
                break
            if layout not in self._heard:
                search.names.setdefault(layout, name)
                self._judge(search.evaluator.scored(layout, search.goal))

    def compared(self, forecast: Forecast) -> list[Candidate]:
        """What was heard beside the best, in the same scenarios."""
        samples = {layout: self._fresh.sample(layout) for layout in self._heard}
        return compared(self._search, self._goal, samples, self.best.layout, forecast)

    def _is_pressed(self) -> bool:
        """Whether what is left of the time is needed for the forecast."""
        budget = self._search.budget
        return budget.left_s <= _RESERVE * budget.limit_s

    def _judge(self, scored: Scored) -> Sample:
        sample = self._fresh.sample(scored.layout)
        self._heard[scored.layout] = None
        rank = (not self._goal.is_kept(sample), self._goal.score(sample))
        if self._best is None or rank < self._best[:2]:
            self._best = (*rank, scored)
        # Ranked without the penalty: what it would cost if it could be made to keep its promise.
        if rank[0] and (self._failed is None or sample.mean_usd < self._failed[0]):
            self._failed = (sample.mean_usd, scored)
        return sample


def widened(problem: Problem, layout: Layout, factor: float) -> Layout:
    """The layout with every fleet that is still to be asked for so many times as wide."""
    fleets = tuple(
        f if f.held >= 0 else replace(f, count=math.ceil(f.count * factor)) for f in layout.fleets
    )
    return replace(layout, fleets=within_depth(problem, fleets))


def on_fresh_luck(search: Search, layout: Layout) -> Sample:
    """Simulate a layout on scenarios that took no part in choosing it."""
    return Confirmation(search, search.seed + 2).whole_sample(layout)


def _overrun_s(goal: Goal, sample: Sample) -> float:
    """Seconds by which a sample is too late at the quantile that the goal asks for."""
    objective = goal.objective
    if not isinstance(objective, Deadline):
        return 0.0
    late = sample.quantile_s(1.0 - (1.0 - objective.confidence) * goal.reserve) - objective.at_s
    return min(max(0.0, late), _TIGHTEN_MAX * (objective.at_s - goal.now_s))


class Confirmation:
    """Fresh scenarios; each layout is simulated on them once."""

    def __init__(self, search: Search, seed: int) -> None:
        problem, evaluator = search.problem, search.evaluator
        self._search = search
        share = _SHARE * search.budget.limit_s / _FINALISTS
        self.size = self._affordable(share / max(EVENT_S * problem.tasks, 1e-9))
        self.by_events = self.size >= _EVENT_SIZE_MIN
        if not self.by_events:
            each = max(evaluator.seconds_each, 1e-9)
            self.size = self._affordable(share / each)
        if not is_random(problem):
            self.size = 1
        ahead = horizon_s(problem, search.end_s - problem.now_s)
        scenarios = draw(problem, self.size, 1_000_003 + seed, horizon_s=ahead)
        self._all = _Trial(search, scenarios, by_events=self.by_events)
        self._few: _Trial | None = None
        if self.size >= 2 * _FEW:
            self._few = _Trial(search, first(scenarios, _FEW), by_events=self.by_events)
        self._known: dict[Layout, Sample] = {}

    @property
    def run_s(self) -> float:
        """Seconds that a layout takes on all of them, about."""
        return self._all.run_s

    def _affordable(self, size: float) -> int:
        return int(min(max(size, _SIZE_MIN), _SIZE_MAX))

    def sample(self, layout: Layout) -> Sample:
        """Simulate a layout on the fresh scenarios: on the first few, when these say enough."""
        if layout not in self._known:
            sample = self._few.run(layout) if self._few else None
            if sample is None or not self._is_far_off(sample):
                sample = self._all.run(layout)
            self._known[layout] = sample
        return self._known[layout]

    def whole_sample(self, layout: Layout) -> Sample:
        """Simulate a layout on all the fresh scenarios."""
        return self._all.run(layout)

    def _is_far_off(self, sample: Sample) -> bool:
        objective = self._search.problem.objective
        return isinstance(objective, Deadline) and sample.miss_share(objective.at_s) > _FAR_OFF


class _Trial:
    """Some scenarios, at the level that is chosen for them."""

    def __init__(self, search: Search, scenarios: Scenarios, *, by_events: bool) -> None:
        self._search, self._scenarios, self._by_events = search, scenarios, by_events
        self._classes = ClassSimulator(search.problem, search.tables, scenarios)

    @property
    def run_s(self) -> float:
        """Seconds that a layout takes, about; for classes, as the last one took."""
        if self._by_events:
            return self._scenarios.size * EVENT_S * self._search.problem.tasks
        return self._classes.work_s

    def run(self, layout: Layout) -> Sample:
        """Simulate a layout, and charge for it."""
        search = self._search
        if self._by_events:
            sample = sample_events(
                search.problem, search.tables, layout, self._scenarios, end_s=search.end_s
            )
        else:
            sample = self._classes.run(layout)
        search.budget.charge(self.run_s)
        return sample


def forecast_of(problem: Problem, tables: Tables, sample: Sample) -> Forecast:
    """Summarise a sample as a forecast."""
    objective, size = problem.objective, sample.end_s.size
    hit, low = 1.0, 1.0
    if isinstance(objective, Deadline):
        hit = 1.0 - sample.miss_share(objective.at_s)
        low = hit_interval(round(hit * size), size)[0]
    return Forecast(
        usd=problem.spent_usd + sample.mean_usd,
        egress_usd=float(sample.egress_usd.mean()),
        request_usd=float(sample.request_usd.mean()),
        spent_usd=problem.spent_usd,
        p50_s=sample.quantile_s(0.5),
        p95_s=sample.quantile_s(0.95),
        hit=hit,
        hit_low=low,
        scenarios=size,
    )
