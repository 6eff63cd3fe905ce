"""The simulated person: submits what is unknown, resumes what has stopped, and meddles."""

from functools import partial
from typing import Final

from msgspec.structs import replace

from rayorch.core.facts import Fact, RunCancelRequested, RunResumed, RunStopRequested, RunSubmitted
from rayorch.core.limit_facts import PolicyApplied
from rayorch.core.policy import Policy
from rayorch.core.run import ENDED, RESUMABLE, Run, RunState
from rayorch.core.values import RetryLimits, StageShape
from rayorch.ids import RunId, TenantId
from rayorch.sim.ports import WorldPort
from rayorch.sim.traits import DATABASE, tenant_name

DATABASE_STAGE: Final = 0
WATCH_S: Final = 1.0
"""How often the person looks at the runs while something is left to do."""
QUIET_S: Final = 60.0
RAISED: Final = 4.0
"""Times the dollars that a tenant may spend, when they are spent."""


class Person:
    """Whoever wants the runs."""

    def __init__(self, world: WorldPort) -> None:
        self._world = world
        self._versions: dict[RunId, int] = {}
        self._asked: dict[RunId, float] = {}
        self.policy = world.traits.policy

    def watch(self) -> None:
        """Look at the runs, and again later."""
        agenda = self._world.agenda
        for run_id in self._world.task_counts:
            run = self.known(run_id)
            if run is None:
                self.ensure_submitted(run_id)
            elif run.state in RESUMABLE and agenda.now_s() >= self._asked.get(run_id, 0.0):
                pause_s = self._world.absence_s(0.5, 5.0)
                self._asked[run_id] = agenda.now_s() + pause_s + 5.0
                agenda.after(pause_s, partial(self._resume, run_id))
        agenda.after(WATCH_S if not self._idle() else QUIET_S, self.watch)

    def known(self, run: RunId) -> Run | None:
        """Return a run, if there is anybody who knows it."""
        leader = self._world.leader
        return leader.machine.runs.get(run) if leader.alive else None

    def ensure_submitted(self, run: RunId) -> None:
        """Submit a run that nobody knows of."""
        self._ensure_policy()
        world = self._world
        if not world.leader.alive or run in world.leader.machine.runs:
            return
        last = world.traits.stages - 1 if run in world.exchanged else -1
        readers = (last, last - 1) if last > 0 and world.traits.merged else (last,)
        uses = ((DATABASE, 1),) if world.config.database_units else ()
        stages = tuple(
            StageShape(
                name=f"stage-{i}",
                timeout_s=world.config.timeout_s,
                sinks=(i,),
                uses=uses if i == DATABASE_STAGE else (),
                after=tuple(range(i)) if i in readers else (),
            )
            for i in range(world.traits.stages)
        )
        sinks = tuple(f"sink-{i}" for i in range(world.traits.stages))
        retry = RetryLimits(attempts_max=4, backoff_s=0.2, backoff_s_max=2.0)
        tenant = tenant_name(int(run.rpartition("-")[2]) % world.traits.tenants)
        self._ask(RunSubmitted(run, run, "v0", stages, sinks, retry=retry, tenant=tenant))

    def meddle(self) -> None:
        """Stop a run, or now and then cancel it."""
        run = self._world.luck.choice(list(self._world.task_counts))
        if self.known(run) is None:
            return
        cancels = self._world.coin(0.1)
        self._ask(RunCancelRequested(run=run) if cancels else RunStopRequested(run=run))

    def _idle(self) -> bool:
        """Whether everything that is left is somebody's long sleep."""
        known = [self.known(run) for run in self._world.task_counts]
        over = ENDED | RESUMABLE
        return not self._world.faulty and all(
            run is not None and run.state in over for run in known
        )

    def _ensure_policy(self) -> None:
        """Say once what may be held of the database, and what tenants may have."""
        leader = self._world.leader
        if leader.alive and self.policy != Policy() and leader.machine.book.policy == Policy():
            self._ask(PolicyApplied(self.policy))

    def _resume(self, run: RunId) -> None:
        known = self.known(run)
        if known is not None and known.state is RunState.BLOCKED:
            self._allow_more(known.tenant)
        self._versions[run] = self._versions.get(run, 0) + 1
        self._ask(RunResumed(run=run, version=f"v{self._versions[run]}"))

    def _allow_more(self, tenant: TenantId) -> None:
        """Let a tenant spend more dollars."""
        self.policy = Policy(
            tenants=tuple(
                replace(each, usd=RAISED * each.usd)
                if each.name == tenant and each.usd is not None
                else each
                for each in self.policy.tenants
            ),
            limits=self.policy.limits,
        )
        self._ask(PolicyApplied(self.policy))

    def _ask(self, fact: Fact) -> None:
        self._world.leader.offer((fact,), None)
