"""A simulated control actor: the host's turn, over the real machine and the real journal."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from connectors.errors import StoreError
from rayorch.clock import SteadyClock
from rayorch.core import invariants
from rayorch.core.commands import (
    CollectExchange,
    Command,
    CompareSchemas,
    MakePlan,
    PlanStage,
    PublishSink,
    Record,
    SendLeases,
    SolvePlacement,
    SweepRun,
)
from rayorch.core.facts import (
    AttemptFinished,
    Event,
    Fact,
    Led,
    PlacementFailed,
    PlacementKept,
    PlacementReady,
    PlanFailed,
    PlanReady,
    PublishFailed,
    RunFailed,
    RunSwept,
    SinkPublished,
    StagePlanned,
    Ticked,
    is_durable,
)
from rayorch.core.machine import Machine
from rayorch.core.near import KEY_BITS, pack_keys
from rayorch.core.placed import ClassPlacement, PoolPrice, RunnersWanted, pack_classes
from rayorch.core.run import ACTIVE
from rayorch.core.values import ErrorInfo
from rayorch.errors import JournalDamagedError
from rayorch.ids import Epoch, EventId, RunId
from rayorch.journal.log import Journal
from rayorch.sim.machines import EXTRA_MAX, NODE_RUNNERS
from rayorch.sim.ports import Heard, PlacerPort, WorldPort

TICK_S: Final = 0.25
IDLE_TICK_S: Final = 60.0
CHECK_TICKS: Final = 20
FIRST_FINAL: Final = 2
PHANTOM: Final = "phantom"
"""A pool that plans count on and that never comes."""


class CrashedError(Exception):
    """The simulated control actor died here. Not an error of the product: the world catches it."""


class SimControl:
    """One incarnation of the control actor."""

    def __init__(self, world: WorldPort) -> None:
        self._world = world
        self.machine: Final = Machine()
        self.clock = world.new_clock()
        # As in the host: events are stamped by a clock that never jumps, the journal looks at all.
        self._steady = SteadyClock(self.clock)
        self.journal = Journal(world.store, self.clock, world.new_nonce)
        self.alive = True
        self.frozen_until_s = 0.0
        self.clean = False  # every event in the journal has been applied
        self._watch = invariants.Watch(self.machine, each=world.traits.watched)
        self._placer = world.new_placer()
        self._ticks = 0
        self._flush_s = 0.0
        self._inbox: list[tuple[tuple[Fact, ...], Heard | None]] = []
        self._next_id = 1
        self._turn_due = False

    def start(self, *, interrupts: bool) -> None:
        """Replay, take the lead, ask for what is outstanding."""
        self.journal.replay(self.machine.fold, self.machine.restore)
        epoch = self.journal.lead(self.machine.fold)
        self._world.oracle.compare(self.machine)
        self._world.oracle.led(epoch)
        self.clean = True
        self._steady.go_on_from(self.machine.at_s)
        self._next_id = self.machine.through + 1
        self._world.bills.led(self._steady.now_s())
        self._apply([Led(epoch=epoch, interrupts=interrupts)])
        self._world.cluster.attach(self)
        self._execute(self.machine.outstanding(self.machine.through, self._steady.now_s()))
        self._tick()

    def offer(self, facts: tuple[Fact, ...], heard: Heard | None) -> None:
        """Queue facts; `heard` is called when they are durable and applied."""
        if not self.alive:
            return
        self._inbox.append((facts, heard))
        if not self._turn_due:
            self._turn_due = True
            delay_s = self._world.luck.uniform(0.0, self._world.config.turn_s)
            self._world.agenda.after(delay_s, partial(self._world.guard, self, self._turn))

    @property
    def epoch(self) -> Epoch:
        """The epoch under which it leads."""
        return self.journal.epoch

    def is_active(self) -> bool:
        """Say whether a run needs anybody."""
        return any(run.state in ACTIVE for run in self.machine.runs.values())

    # --- one turn ------------------------------------------------------------------------------

    def _tick(self) -> None:
        self.offer((), None)
        delay_s = TICK_S if self.is_active() else IDLE_TICK_S
        # One that is stopped does not look at its clock, either.
        delay_s = max(delay_s, self.frozen_until_s - self._world.agenda.now_s())
        self._ticks += 1
        if self.alive:
            self._world.agenda.after(delay_s, self._tick)

    def _turn(self) -> None:
        agenda = self._world.agenda
        if agenda.now_s() < self.frozen_until_s:
            wait_s = self.frozen_until_s - agenda.now_s()
            agenda.after(wait_s, partial(self._world.guard, self, self._turn))
            return
        self._turn_due = False
        if self._ticks >= CHECK_TICKS:
            # A zombie that nobody talks to has nothing to append, and must find out, too.
            self._ticks = 0
            self._try_chore(self.journal.check_lead)
        inbox, self._inbox = self._inbox, []
        self._apply([fact for facts, _ in inbox for fact in facts])
        for _, heard in inbox:
            if heard is not None:
                heard()
        if self.journal.segments_since_snapshot >= self._world.config.snapshot_segments:
            self._try_chore(self._snapshot)

    def _snapshot(self) -> None:
        self.journal.write_snapshot(self.machine.snapshot())
        self._may_crash()
        self.journal.collect()

    def _try_chore(self, chore: Callable[[], object]) -> None:
        """Do what no run depends on; a store that refuses it, or lies, is asked again later."""
        try:
            chore()
        except StoreError:
            pass
        except JournalDamagedError:
            if not self._world.store.corrupted:
                raise

    def _apply(self, facts: Sequence[Fact]) -> None:
        """Stamp, journal, apply, execute; and again for what the machine decides to record."""
        news = [self.machine.admitted(fact) for fact in facts]
        while news:
            events = self._stamped(news)
            durable = [event for event in events if is_durable(event.fact)]
            if durable:
                self._append(durable)
            news = self._handled(events)
        if news := self._handled(self._stamped([Ticked(self._flush_s)])):
            self._apply(news)

    def _append(self, events: list[Event]) -> None:
        self._may_crash()
        self.clean = False
        begun_s = self._world.agenda.now_s()
        self.journal.append(events)
        self._flush_s = self._world.agenda.now_s() - begun_s
        self._world.oracle.appended(self.epoch)
        self._may_crash()

    def _stamped(self, facts: Sequence[Fact]) -> list[Event]:
        first = self._next_id
        self._next_id += len(facts)
        now_s = self._steady.now_s()
        return [Event(EventId(first + i), now_s, fact) for i, fact in enumerate(facts)]

    def _handled(self, events: Sequence[Event]) -> list[Fact]:
        world, machine, watch = self._world, self.machine, self._watch
        commands: list[Command] = []
        for event in events:
            commands += machine.handle(event)
            fact = event.fact
            if not isinstance(fact, Ticked):
                world.tell("event", event.id, fact)
            world.events += 1
            watch.saw(event)
            world.saw(self, event)
            if isinstance(fact, AttemptFinished):
                world.oracle.committed(machine, fact)
        self.clean = True
        return self._execute(commands)

    def _execute(self, commands: Sequence[Command]) -> list[Fact]:
        recorded: list[Fact] = []
        for command in commands:
            self._may_crash()
            if isinstance(command, Record):
                recorded.append(command.fact)
            elif isinstance(command, SendLeases):  # As nearly all are.
                self._world.oracle.sends(self.machine, command.leases)
                self._ask(command)
            else:
                self._begin(command)
        return recorded

    def _begin(self, command: Command) -> None:
        """Begin to carry out a command, here or on the cluster."""
        match command:
            case MakePlan():
                self._later(1.0, partial(self._plan, command))
            case PlanStage(run=run, stage=stage, revision=revision):
                plan = self._world.exchange.plan(self.machine.runs[run], stage, revision)
                self._world.oracle.plans(run, stage, plan)
                self._later(0.5, partial(self._plan_stage, command))
            case CollectExchange(run=run, stage=stage):
                self._world.exchange.collect(self.machine.runs[run], stage)
            case SolvePlacement():
                self._later(1.0, partial(self._solve, command))
            case PublishSink():
                outputs = tuple(self.machine.runs[command.run].outputs.items())
                self._later(0.5, partial(self._publish, command, outputs))
            case SweepRun():
                outputs = tuple(self.machine.runs[command.run].outputs.items())
                self._later(0.5, partial(self._sweep, command, outputs))
            case CompareSchemas():
                self._later(0.5, partial(self._compare, command))
            case _:
                self._ask(command)

    def _ask(self, command: Command) -> None:
        self._world.tell("   asks", command)
        self._world.cluster.execute(command)

    def _may_crash(self) -> None:
        if self._world.happens("crash_in_turn"):
            raise CrashedError

    # --- slow work, in threads of the control actor -----------------------------------------------

    def _later(self, mean_s: float, work: Callable[[], tuple[Fact, ...]]) -> None:
        def answer() -> None:
            # Of a dead process's work some was done already, and nobody hears of it.
            if self.alive or self._world.coin(0.5):
                self.offer(work(), None)

        self._world.agenda.after(self._world.luck.expovariate(1.0 / mean_s), answer)

    def _compare(self, command: CompareSchemas) -> tuple[Fact, ...]:
        """Say that schemas which differ cannot be one, or that they can."""
        if self._world.coin(0.5):
            return ()
        error = ErrorInfo(message="simulated: the schemas of a sink differ")
        return (RunFailed(command.run, error),)

    def _plan(self, command: MakePlan) -> tuple[Fact, ...]:
        if self._world.strikes("plan_fails"):
            return (PlanFailed(command.run, ErrorInfo(message="simulated: no such file")),)
        counts = self._world.task_counts[command.run]
        if command.run in self._world.exchanged:
            # The stages that read are cut when what they read is measured.
            readers = 1 + self._world.traits.merged
            counts = (*counts[:-readers], *([0] * readers))
        keys = {stage: keys for stage, count in enumerate(counts) if (keys := self._keys(count))}
        planned = PlanReady(run=command.run, task_counts=counts, keys=keys)
        if self._world.coin(0.3):
            return (planned,)  # As in a home without a choice of pools.
        run = self.machine.runs[command.run]
        if self._placer is not None:
            there = self._world.cluster.slots()
            return *self._placer.first(run, counts, there, self._steady.now_s()), planned
        return planned, self._placement(command.run, 1, is_final=False)

    def _plan_stage(self, command: PlanStage) -> tuple[Fact, ...]:
        run, stage = command.run, command.stage
        tasks = self._world.task_counts[run][stage]
        keys = self._keys(tasks)
        planned = StagePlanned(
            run, stage, command.revision, tasks, notes=("simulated",), parted=True, keys=keys
        )
        return (planned,)

    def _keys(self, tasks: int) -> bytes:
        """Return what tasks read, where machines keep it: two each read the same."""
        if not self._world.traits.cached:
            return b""
        return pack_keys([task // 2 * 7919 % (1 << KEY_BITS) for task in range(tasks)])

    def _solve(self, command: SolvePlacement) -> tuple[Fact, ...]:
        if self._placer is not None:
            return self._solved(self._placer, command)
        if self._world.happens("solver_fails"):
            error = ErrorInfo(message="simulated: the solver crashed")
            return (PlacementFailed(command.run, command.revision, error),)
        is_review = command.revision > FIRST_FINAL
        if is_review and self._world.coin(0.6):
            return (PlacementKept(command.run),)
        return (self._placement(command.run, command.revision, is_final=True),)

    def _solved(self, placer: PlacerPort, command: SolvePlacement) -> tuple[Fact, ...]:
        """Ask the real planner, or what serves in its place."""
        there = self._world.cluster.slots()
        if self._world.happens("solver_fails"):
            return placer.guard(command, there)
        run = self.machine.runs[command.run]
        return placer.look(command, run, there, self._steady.now_s())

    def _placement(self, run: RunId, revision: int, *, is_final: bool) -> PlacementReady:
        """Send classes anywhere: what a plan says may cost time, and nothing else."""
        world = self._world
        tasks = sum(world.task_counts[run])
        names = [pool.name for pool in world.config.pools]
        if world.faulty:
            names.append(PHANTOM)
        classes = tuple(
            ClassPlacement(
                name=f"class-{number}",
                stage=0,
                tasks=tasks,
                pools=tuple(world.luck.sample(names, world.luck.randint(1, len(names)))),
            )
            for number in range(world.luck.randint(1, 4))
        )
        class_of = picks(world.luck, len(classes), tasks)
        return PlacementReady(
            run=run,
            revision=revision,
            classes=classes,
            class_of=pack_classes(class_of[: world.luck.randint(0, tasks)]),
            runners=self._runners() if world.traits.elastic else (),
            prices=tuple(PoolPrice(name, world.luck.choice((None, 0.5))) for name in names),
            is_final=is_final,
            is_reviewed=True,
        )

    def _runners(self) -> tuple[RunnersWanted, ...]:
        """Ask for machines of each pool, now more and now fewer, or take them as they are."""
        world = self._world
        if world.coin(0.3):
            return ()
        now_s = self._steady.now_s()
        return tuple(
            RunnersWanted(pool.name, now_s, pool.runners + NODE_RUNNERS * nodes, nodes)
            for pool in world.config.pools
            for nodes in [world.luck.randint(0, EXTRA_MAX)]
        )

    def _publish(
        self, command: PublishSink, outputs: "tuple[tuple[int, object], ...]"
    ) -> tuple[Fact, ...]:
        if self._world.happens("publish_fails"):
            again = self._world.coin(0.8)
            retry_at_s = self._steady.now_s() + 1.0 if again else 0.0
            error = ErrorInfo(message="simulated: the sink does not answer")
            failed = PublishFailed(command.run, command.sink, error, retry_at_s)
            if self._world.coin(0.5):
                return (failed,)
            self._world.oracle.publish(command, outputs)
            return (failed,)
        self._world.oracle.publish(command, outputs)
        return (
            SinkPublished(
                run=command.run, sink=command.sink, version="1", rows=0, files=0, size_bytes=0
            ),
        )

    def _sweep(
        self, command: SweepRun, outputs: "tuple[tuple[int, object], ...]"
    ) -> tuple[Fact, ...]:
        return (RunSwept(run=command.run, files=self._world.oracle.sweep(command.run, outputs)),)


def picks(luck: random.Random, below: int, count: int) -> list[int]:
    """Return so many numbers below another, the same as `randrange` gives, a hundred at its cost.

    It takes the first bits of one word of luck after the other, and leaves out what is too large.
    """
    assert 0 < below < 1 << 8, below
    shift = 8 - below.bit_length()
    first_bits = bytes(byte >> shift for byte in range(1 << 8))
    too_large = bytes(byte for byte in range(1 << 8) if first_bits[byte] >= below)
    found = b""
    while wanted := count - len(found):
        words = luck.getrandbits(32 * wanted).to_bytes(4 * wanted, "little")
        found += words[3::4].translate(first_bits, too_large)
    return list(found)
