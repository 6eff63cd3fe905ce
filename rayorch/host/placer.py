"""Keeps the placement of each run that has a choice: a first one, better ones, and new ones.

What is decided is journaled as `PlacementReady`; what was weighed for it lies under the home:

    runs/<run>/placement-<revision>.json    the Decision, with `revision`, `at_s` and `reasons`

Nothing that happens here stops a run: a solver that fails leaves the placement that stands, with
what the deadline needs on top. This module takes placement, numpy and a second to import, so it is
loaded for runs with a choice alone.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

import placement
from connectors.errors import ConnectorError
from placement import InfeasibleError, InvalidProblemError, PlacementError, Problem
from rayorch.clock import Clock
from rayorch.core.commands import SolvePlacement
from rayorch.core.facts import Fact, PlacementFailed, PlacementKept, PlacementReady
from rayorch.core.sizes import Size
from rayorch.errors import PoolsError, SolverProcessError
from rayorch.home import Home
from rayorch.host.failing import error_info
from rayorch.host.solving import SOLVER_S_MAX, SolverProcess
from rayorch.ids import RunId
from rayorch.plan.asking import Asked
from rayorch.plan.deciding import Decision, told
from rayorch.plan.locating import sources_of
from rayorch.plan.needs import check_needs
from rayorch.plan.placing import (
    Task,
    first,
    follows,
    guarded,
    moved,
    planned,
    prices_of,
    unsearched,
    wire,
)
from rayorch.plan.pools import PoolsSpec, grows, nodes_of, pools_there, usable_pools
from rayorch.plan.question import Question
from rayorch.plan.seeing import look
from rayorch.plan.standing import Standing
from rayorch.plan.unplaced import Unplaced, unplaced
from rayorch.spec.objective import Budget, Deadline

RETRY_S: Final = 5.0
RETRY_S_MAX: Final = 300.0
"""Between questions to a solver that fails; the deadline is guarded all the while."""
PATIENCE: Final = 0.25
PATIENCE_S_MIN: Final = 2.0
"""Of what is left until the deadline, for an answer: nothing guards it while a solver works."""

_NONE: Final[tuple[str, ...]] = ()

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Kept:
    """A run's placement, and how its solver did."""

    standing: Standing
    budget_usd: float | None
    untold: placement.Plan | None = None  # the first one, until what was weighed for it is kept
    failures: int = 0
    retry_at_s: float = 0.0


def task_of(
    work: Unplaced,
    asked: Asked,
    there: Mapping[str, int],
    machines: Mapping[str, Collection[Size]],
) -> Task:
    """Return what is to be placed, and on what.

    Raises: PoolsError, when none of the pools that were asked for is there; NoMachineError, when
    none of their machines holds a task.
    """
    with_gpus = any(stage.resources.gpus for stage in work.program.stages)
    if asked.pools is None:
        cores = max(stage.resources.cores for stage in work.program.stages)
        pools, missing = pools_there(there, machines, cores), _NONE
    else:
        pools, missing = usable_pools(
            asked.pools, there, asked.file, autoscale=asked.autoscale, with_gpus=with_gpus
        )
    elastic = _elastic(pools, there, with_gpus=with_gpus) if asked.autoscale else None
    described = {pool.name: (Size(pool.vcpu, pool.memory, pool.gpus),) for pool in pools.pools}
    check_needs(
        work.program,
        {
            name: machines.get(name, ()) if name not in (elastic or {}) else described[name]
            for name in described
        },
    )
    objective, notes = asked.objective_on(pools)
    return Task(
        run=work.run,
        submitted_s=work.submitted_s,
        plan=planned(work.program, work.plan),
        histories=work.histories,
        pools=pools,
        objective=objective,
        notes=(*(f"pool {name} is not in the cluster" for name in missing), *notes),
        done=work.done,
        prices=tuple(
            price
            for price in prices_of(pools if asked.pools is None else asked.pools)
            if price.pool in {pool.name for pool in pools.pools}
        ),
        elastic=elastic,
    )


def sources(task: Task) -> list[list[str]]:
    """Return where the input of each task lies, stage by stage."""
    return [sources_of(stage, task.pools) for stage in task.plan.run_plan.stages]


def _elastic(pools: PoolsSpec, there: Mapping[str, int], *, with_gpus: bool) -> dict[str, int]:
    """Return how many machines there are of each pool of which more can be asked for."""
    return {
        pool.name: min(nodes_of(there.get(pool.name, 0), pool.vcpu), pool.max_nodes)
        for pool in pools.pools
        if grows(pool, with_gpus=with_gpus)
    }


def has_choice(task: Task, there: Mapping[str, int]) -> bool:
    """Say whether there is anything to decide: pools to use or leave, something to keep to."""
    if task.elastic is not None:
        return True
    names = {pool.name for pool in task.pools.pools}
    return len(names | set(there)) > 1 or isinstance(task.objective, Deadline | Budget)


def patience_s(problem: Problem) -> float:
    """Return how long to wait for a plan of what is left, whatever a solver may take."""
    if not isinstance(problem.objective, placement.Deadline):
        return SOLVER_S_MAX
    left_s = problem.objective.at_s - problem.now_s
    return min(SOLVER_S_MAX, max(PATIENCE_S_MIN, PATIENCE * left_s))


class Placer:
    """The placements of a home's runs."""

    def __init__(self, home: Home, clock: Clock, solver: SolverProcess) -> None:
        self._home = home
        self._clock = clock
        self._solver = solver
        self._kept: dict[RunId, _Kept] = {}

    def knows(self, run: RunId) -> bool:
        """Say whether a run has a placement that was made here."""
        return run in self._kept

    def forget(self, run: RunId) -> None:
        """Let go of a run that is over."""
        self._kept.pop(run, None)

    def close(self) -> None:
        """End a solver that is at work."""
        self._solver.close()

    def first(
        self,
        work: Unplaced,
        document: Mapping[str, Any],
        there: Mapping[str, int],
        machines: Mapping[str, Collection[Size]],
    ) -> tuple[Fact, ...]:
        """Return a run's first placement, in milliseconds; `document` says what it is to keep to.

        Raises: PoolsError, NoMachineError, InfeasibleError: no pool that was asked for is there, or
        none that a task fits in.
        """
        asked = Asked.model_validate(document)
        task = task_of(work, asked, there, machines)
        if not has_choice(task, there):
            placed = unplaced(work, sum(there.values()), task.prices, sources(task))
            return (msgspec.structs.replace(placed, reasons=task.notes),)
        try:
            standing, plan = first(task, self._clock.now_s())
        except (PoolsError, InfeasibleError, InvalidProblemError):
            raise
        # A bug of ours is no reason for a run not to go.
        except Exception as error:
            logger.exception("no placement. run=%s", work.run)
            failed = PlacementFailed(work.run, 1, error_info(error))
            return failed, unplaced(work, sum(there.values()), task.prices, sources(task))
        self._kept[work.run] = _Kept(standing, asked.budget_usd, plan)
        return (wire(standing, is_final=False),)

    def tell_first(self, run: RunId) -> None:
        """Keep what was weighed for the first placement; nobody waits for it."""
        kept = self._kept.get(run)
        if kept is None or kept.untold is None:
            return
        standing, plan, kept.untold = kept.standing, kept.untold, None
        try:
            self._keep(standing, told(standing.problem, plan, is_priced=standing.pools.is_priced))
        except (ConnectorError, PlacementError) as error:
            logger.warning("a decision is not kept. run=%s, reason=%s", run, error)

    def look(
        self,
        command: SolvePlacement,
        there: Mapping[str, int],
        machines: Mapping[str, Collection[Size]],
        work_of: Callable[[], Unplaced],
        asked_of: Callable[[RunId], Mapping[str, Any] | None],
    ) -> Iterator[Fact]:
        """Look at a run's placement, and answer with a new one where that is called for.

        `work_of` and `asked_of` are asked where the placement was made by a leader before this one.
        """
        try:
            if command.run not in self._kept:
                asked = Asked.model_validate(asked_of(command.run) or {})
                command = self._rebuilt(command, task_of(work_of(), asked, there, machines), asked)
            yield from self._looked(command, there)
        # Whatever it is, a bug of ours too: the placement that stands serves on.
        except Exception as error:
            logger.exception("no placement. run=%s", command.run)
            yield PlacementFailed(command.run, command.revision, error_info(error))

    def _rebuilt(self, command: SolvePlacement, task: Task, asked: Asked) -> SolvePlacement:
        """Make a placement like the one that stands; return the command in terms of it.

        Estimates may have changed since, and with them the classes that the core counted by.
        """
        standing, _ = first(task, self._clock.now_s(), command.revision - 1)
        self._kept[command.run] = _Kept(standing, asked.budget_usd)
        observed = msgspec.structs.replace(command.observed, classes=())
        return msgspec.structs.replace(command, observed=observed)

    def _looked(self, command: SolvePlacement, there: Mapping[str, int]) -> Iterator[Fact]:
        kept = self._kept[command.run]
        reasons, after, kept.standing = look(kept.standing, command.observed, there)
        if after is None:
            kept.standing, news = moved(kept.standing, command.revision, reasons)
            yield news
            return
        if kept.standing.is_searched and not reasons:
            yield PlacementKept(command.run)
            return
        now_s = self._clock.now_s()
        if now_s < kept.retry_at_s:
            yield from self._guarded(command, kept, after, reasons)
            return
        try:
            yield self._solved(command, kept, after, reasons, now_s)
        except SolverProcessError as error:
            kept.failures += 1
            pause_s = min(RETRY_S * 2.0**kept.failures, RETRY_S_MAX)
            kept.retry_at_s = self._clock.now_s() + pause_s
            yield PlacementFailed(command.run, command.revision, error_info(error))
            yield from self._guarded(command, kept, after, reasons)

    def _solved(
        self,
        command: SolvePlacement,
        kept: _Kept,
        after: Problem,
        reasons: tuple[str, ...],
        now_s: float,
    ) -> PlacementReady:
        """Ask the solver. Raises: SolverProcessError."""
        standing = kept.standing
        # The first look is the search that the first placement had no time for.
        again = standing.is_searched
        answer = self._solver.ask(
            Question(
                problem=after,
                is_priced=standing.pools.is_priced,
                budget_usd=kept.budget_usd,
                before=standing.problem if again else None,
                layout=standing.layout if again else None,
            ),
            patience_s(after),
        )
        kept.failures, kept.retry_at_s = 0, 0.0
        standing = follows(standing, after, answer.plan, command.revision)
        kept.standing = replace(standing, is_searched=True)
        if answer.event:
            reasons = (*reasons, f"the search went wrong: {answer.event}")
        ready = wire(kept.standing, reasons)
        try:
            self._keep(kept.standing, answer.decision, reasons, now_s)
        except ConnectorError as error:
            logger.warning("a decision is not kept. run=%s, reason=%s", command.run, error)
        return ready

    @staticmethod
    def _guarded(
        command: SolvePlacement, kept: _Kept, after: Problem, reasons: tuple[str, ...]
    ) -> Iterator[Fact]:
        """Go on with the placement that stands, and what the deadline needs on top."""
        carried, safe = guarded(kept.standing, after)
        if safe == carried and not reasons:
            yield PlacementKept(command.run)
            return
        plan = unsearched(after, safe)
        kept.standing = follows(kept.standing, after, plan, command.revision)
        if safe != carried:
            reasons = (*reasons, "more nodes on demand, for the deadline")
        yield wire(kept.standing, reasons)

    def _keep(
        self,
        standing: Standing,
        decision: Decision,
        reasons: tuple[str, ...] = (),
        at_s: float | None = None,
    ) -> None:
        content = msgspec.to_builtins(decision) | {
            "revision": standing.revision,
            "at_s": self._clock.now_s() if at_s is None else at_s,
            "reasons": (*reasons, *standing.notes),
        }
        self._home.put_json(standing.run, f"placement-{standing.revision}", content)
