"""Run one seed to its end and say what came of it."""

import traceback
from collections.abc import Callable
from typing import Final

import msgspec

from connectors.sealed import checksum
from connectors.store import Store
from connectors.stores.memory import MemoryStore
from rayorch.core import invariants
from rayorch.core.machine import Machine
from rayorch.core.run import ENDED
from rayorch.core.task import TaskState
from rayorch.errors import RayorchError
from rayorch.journal.log import Journal
from rayorch.sim.agenda import Agenda
from rayorch.sim.config import SimConfig
from rayorch.sim.ports import PlacerMaker
from rayorch.sim.world import World

STEPS_MAX: Final = 1_000_000
"""Nothing that ends takes so many: a loop without progress is a finding, too."""

LOOK_STEPS: Final = 50


class Outcome(msgspec.Struct, frozen=True):
    """What came of one seed."""

    seed: int
    finished: bool  # every run ended once the faults had stopped
    left: str  # what had not
    virtual_s: float
    succeeded: int  # runs
    committed: int  # tasks
    work_s: float  # of all attempts, those that came to nothing included
    useful_s: float  # of those that committed
    events: int
    epoch: int
    orphans: int  # attempts that staged after their run had been swept
    journal: str  # checksum of all that the journal's folders hold
    violations: tuple[str, ...]
    seen: dict[str, int]  # events by kind, and what went wrong by its name in `SimFaults`


def simulate(
    seed: int,
    config: SimConfig | None = None,
    store: Callable[[Agenda], Store] | None = None,
    tell: Callable[[float, str], None] | None = None,
    placer: PlacerMaker | None = None,
) -> Outcome:
    """Run the control plane through one seed, and look at everything that must hold.

    The same seed gives the same outcome, to the last byte of the journal. `tell` hears what happens
    and when. `placer` makes the planners of worlds that have one by their seed; without it, and in
    the others, work goes anywhere.
    """
    config = config or SimConfig()
    world = World(seed, config, store or _memory, tell, placer)
    violations: list[str] = []
    finished, left = False, ""
    try:
        world.begin_all()
        finished = _run(world)
        if not finished:
            left = _left(world)
        _check_end(world)
    except (RayorchError, AssertionError) as error:
        violations.append(f"{type(error).__name__}: {error} [{_place(error)}]")
    world.over = True
    runs = world.leader.machine.runs.values()
    return Outcome(
        seed=seed,
        finished=finished,
        left=left,
        virtual_s=round(world.agenda.elapsed_s, 3),
        succeeded=world.succeeded(),
        committed=sum(run.committed for run in runs),
        work_s=round(world.work_s, 3),
        useful_s=round(world.oracle.useful_s, 3),
        events=world.events,
        epoch=world.leader.journal.epoch,
        orphans=world.oracle.orphans,
        journal=_digest(world.store),
        violations=tuple(violations),
        seen=dict(world.seen),
    )


def _memory(agenda: Agenda) -> Store:
    store = MemoryStore("simulation", now_s=agenda.now_s)
    store.delete([info.key for info in store.list()])
    return store


def _run(world: World) -> bool:
    seen = -1
    for step in range(STEPS_MAX):
        # It takes an event to end a run, and time to wake a control actor.
        if world.events != seen or step % LOOK_STEPS == 0:
            seen = world.events
            if world.done():
                return True
        if world.overdue() or not world.agenda.step():
            return False
    return False


def _check_end(world: World) -> None:
    """Compare the last leader with the world, and with a replay of its journal."""
    world.store.settle()
    machine = world.leader.machine
    invariants.check(machine)
    world.oracle.check_end(machine)
    world.oracle.remember(machine)
    replayed = Machine()
    Journal(world.store, world.agenda, world.new_nonce).replay(replayed.fold, replayed.restore)
    world.oracle.compare(replayed)


def _left(world: World) -> str:
    left = []
    for run_id in world.task_counts:
        run = world.leader.machine.runs.get(run_id)
        if run is None:
            left.append(f"{run_id} is unknown")
        elif run.state not in ENDED or not run.swept:
            open_tasks = [each for each in run.tasks if each.state is not TaskState.COMMITTED]
            left.append(f"{run_id} is {run.state.value}, open: {open_tasks[:3]}")
    return "; ".join(left)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return " < ".join(f"{each.name}:{each.lineno}" for each in reversed(frames))


def _digest(store: Store) -> str:
    parts = [f"{info.key}={checksum(store.get(info.key))}" for info in store.list("journal/")]
    return checksum("\n".join(parts).encode())
