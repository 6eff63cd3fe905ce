"""What holds after every event, checked over the whole machine.

Tests run `check` after each event, simulations a `Watch`, production `check` now and then, and a
breach stops the control actor. `durable_view` is the other half: the part of the state that a
replay of the journal must bring back.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from rayorch.core.accounts import whole
from rayorch.core.facts import Event, Ticked
from rayorch.core.flow import Flow
from rayorch.core.leasing import QUEUE_MAX, RunnerSlot
from rayorch.core.machine import Machine
from rayorch.core.policy import Policy
from rayorch.core.run import ACTIVE, ENDED, UNPLANNED, Run, RunState
from rayorch.core.task import COMMITTED, FAILED, HELD, READY, WAITING, Task, TaskState
from rayorch.errors import InvariantError
from rayorch.ids import RunId, RunnerId, TaskId

if TYPE_CHECKING:
    from rayorch.ids import Epoch, TenantId

CORES_OFF: Final = 1e-6
"""By which sums of cores may be off, and no more."""
WATCHED_A_EVENT: Final = 10
WATCHED_OF_MANY: Final = 3
"""Tasks and runners that a `Watch` looks at for each event, on average, of few and of many."""
MANY: Final = 2_000
A_LOOK: Final = 20
"""As many tasks take as long as what else there is to look at."""

NOBODY: Final = RunnerId("")
NOTHING: Final = RunId("")
"""What events are about that are about no runner, and no run."""

_BY_TASK: Final = ("outputs", "parts", "splits", "charged")
"""What a run knows of many tasks, in values that never change."""

_NONE: Final = dict.fromkeys(TaskState, 0)
_UNPUBLISHED = UNPLANNED | {RunState.RUNNING, RunState.DRAINING}
_PUBLISHED = frozenset({RunState.PUBLISHING, RunState.SUCCEEDED})


def check(machine: Machine) -> None:
    """Look at everything that must hold. Raises: InvariantError, naming the rule that does not."""
    taken = Taken(machine)
    _check_leases(machine, taken)
    _check_runners(machine, taken)
    _check_units(machine)
    _check_accounts(machine)
    for run in machine.runs.values():
        flow = machine.flows[run.id]
        _check_run(run)
        _check_tasks(machine, run, flow)
        _check_turns(machine, run, flow)
        _check_end(run, flow)


class Taken:
    """Who holds what, as one look at all runners and their queues finds it."""

    def __init__(self, machine: Machine) -> None:
        self.attempts: set[tuple[RunId, TaskId, int, Epoch]] = set()
        self.on: dict[RunId, dict[RunnerId, int]] = {run: {} for run in machine.runs}
        self.slots: dict[TenantId, list[RunnerSlot]] = {}
        self.living: dict[str, int] = {}  # pool -> runners that take work
        self.idle: set[RunnerId] = set()
        self.busy: set[RunnerId] = set()  # living, with leases
        for slot in machine.runners.values():
            _check_slot(machine, slot)
            self._add(slot)

    def _add(self, slot: RunnerSlot) -> None:
        if not slot.shut:
            self.living[slot.pool] = self.living.get(slot.pool, 0) + 1
            (self.busy if slot.queue else self.idle).add(slot.id)
        if slot.holder is not None:
            self.slots.setdefault(slot.holder, []).append(slot)
        for lease in slot.queue.values():
            attempt = (lease.run, lease.task, lease.attempt, lease.epoch)
            if attempt in self.attempts:
                _broken("an attempt is leased to one runner", attempt)
            self.attempts.add(attempt)
            on = self.on[lease.run]
            on[slot.id] = on.get(slot.id, 0) + 1


class Watch:
    """Looks at what each event touched, and at everything as often as its size allows.

    A state of fifty tasks and runners is looked at whole after every seventh event, one of a
    hundred thousand once in tens of thousands of them: what is wrong stays wrong, so it is found a
    little later, at a bounded cost. `each` looks at everything after each event: for small states.
    """

    def __init__(self, machine: Machine, *, each: bool = False) -> None:
        self._machine = machine
        self._each = each
        self._events_left = 0  # until the next look at everything

    def saw(self, event: Event) -> None:
        """Look after an event was applied. Raises: InvariantError."""
        self._events_left -= 1
        if self._events_left <= 0:
            check(self._machine)
            if self._each:
                return
            size = A_LOOK + self._size()
            self._events_left = size // (WATCHED_A_EVENT if size < MANY else WATCHED_OF_MANY)
            return
        fact = event.fact
        if isinstance(fact, Ticked):
            return  # It touched nothing in particular.
        machine, book = self._machine, self._machine.book
        slot = book.runners.get(getattr(fact, "runner", NOBODY))
        if slot is not None:
            _check_slot(machine, slot)
        run = book.runs.get(getattr(fact, "run", NOTHING))
        if run is not None:
            task = getattr(fact, "task", None)
            if task is not None and 0 <= task < len(run.tasks):
                _check_task(machine, run, run.tasks[task])
            _check_end(run, book.flows[run.id])

    def _size(self) -> int:
        runs = self._machine.runs.values()
        return sum(len(run.tasks) for run in runs) + len(self._machine.runners)


def _broken(invariant: str, *found: object) -> NoReturn:
    raise InvariantError(invariant, " ".join(str(each) for each in found))


def _check_slot(machine: Machine, slot: RunnerSlot) -> None:
    if len(slot.queue) > QUEUE_MAX:
        _broken("a runner's queue is bounded", slot.id, len(slot.queue))
    if slot.alone and len(slot.queue) != 1:
        _broken("a suspect runs alone", slot.id, list(slot.queue))
    runs, holder = machine.runs, slot.holder
    for key, lease in slot.queue.items():
        if key != (lease.run, lease.task) or lease.run not in runs:
            _broken("a lease is queued under its own run and task", slot.id, key, lease)
        if runs[lease.run].tenant != holder:
            _broken("a runner serves one tenant at a time", slot.id, holder, lease)
    if holder is not None and not slot.queue:
        _broken("who holds a runner has leases on it", slot.id, holder)


def _check_leases(machine: Machine, taken: Taken) -> None:
    """What a run knows of its leases is what is queued."""
    for run, flow in machine.flows.items():
        on = taken.on[run]
        if flow.held != sum(on.values()):
            _broken("`held` counts the leases of a run", run, flow.held, on)
        if flow.on != on:
            _broken("runners that hold a run's leases are known", run, flow.on, on)


def _check_runners(machine: Machine, taken: Taken) -> None:
    """What is kept along, so that nobody has to look for it, is what a look would find."""
    book = machine.book
    if taken.idle != {runner for some in book.idle.values() for runner in some}:
        _broken("runners with nothing to do are known", sorted(taken.idle), book.idle)
    hungry = {runner for some in book.hungry.values() for runner in some}
    if not hungry <= taken.busy:
        _broken("only a living runner with leases may take more", sorted(hungry))
    living = len(taken.idle) + len(taken.busy)
    if book.cluster.slots != living or book.cluster.living != taken.living:
        _broken("living runners are counted", book.cluster.slots, book.cluster.living)
    for party in book.parties.values():
        mine = taken.slots.get(party.id, [])
        if party.slots != len(mine) or abs(party.cores - sum(s.cores for s in mine)) > CORES_OFF:
            _broken("what a tenant holds is counted", party.id, party.slots, len(mine))
        if party.deep.keys() != {slot.id for slot in mine if len(slot.queue) > 1}:
            _broken("runners with leases behind the first are known", party.id, list(party.deep))


def _check_units(machine: Machine) -> None:
    """What is held of outside resources is counted, within its limit, and by whoever uses it."""
    book = machine.book
    held: dict[str, int] = {}
    for units in (*book.units.values(), *map(dict, book.claims.values())):
        for name, count in units.items():
            held[name] = held.get(name, 0) + count
    if _not_zero(held) != _not_zero(book.used):
        _broken("what is held of outside resources is counted", held, dict(book.used))
    for slot in machine.runners.values():
        for lease in slot.queue.values():
            for name, used in machine.runs[lease.run].stages[lease.stage].uses:
                if book.units.get(slot.id, {}).get(name, 0) < used:
                    _broken("who uses an outside resource holds it", slot.id, lease, name)


def _not_zero(counts: Mapping[Any, int]) -> dict[Any, int]:
    return {key: count for key, count in counts.items() if count}


def _check_accounts(machine: Machine) -> None:
    """What runs pay for nodes, and what nobody pays, is what the nodes cost."""
    accounts = machine.accounts
    totals = {pool: whole(accounts.unassigned.get(pool, {})) for pool in accounts.billed}
    for account in accounts.nodes.values():
        if account.pool in totals:
            totals[account.pool].add(account.early)
    for run in machine.runs.values():
        for pool, paid in run.paid.items():
            if pool in totals:
                totals[pool].add(whole(paid))
    for pool, billed in accounts.billed.items():
        total = totals[pool]
        is_close = math.isclose(total.core_s, billed.core_s, rel_tol=1e-9, abs_tol=1e-6)
        if total.nano_usd != billed.nano_usd or not is_close:
            _broken("what is paid is what nodes cost", pool, total, billed)


def _check_run(run: Run) -> None:
    if (run.target is not None) != (run.state is RunState.DRAINING):
        _broken("a run has a target while it drains", run.id, run.state, run.target)
    if run.state in _PUBLISHED and not (run.generation and run.planned):
        _broken("a run that publishes has a generation", run.id, run.state)
    if run.state in _UNPUBLISHED and run.generation:
        _broken("a run has no generation before all is committed", run.id, run.state)
    if run.generation and (run.committed != run.task_count or run.unplanned):
        _broken("a generation is given when all is committed", run.id, run.committed)
    if run.state is RunState.SUCCEEDED and len(run.published) != len(run.sinks):
        _broken("a run succeeds when every sink is visible", run.id, sorted(run.published))
    if run.published and not run.generation:
        _broken("nothing is visible before all is committed", run.id, sorted(run.published))


def _check_tasks(machine: Machine, run: Run, flow: Flow) -> None:
    """Each task is as it may be, and all of them are counted. One look at each."""
    counts = [_NONE.copy() for _ in run.stages]
    committed = []
    is_worked_on = run.state in ACTIVE and run.state not in UNPLANNED
    queued, waiting = (_queued(flow), set(flow.waiting)) if is_worked_on else (set(), set())
    for task in run.tasks:
        counts[task.stage][task.state] += 1
        if task.state is COMMITTED:
            committed.append(task.id)
            continue
        _check_task(machine, run, task)
        if not is_worked_on:
            continue
        if task.state is READY and task.id not in queued:
            _broken("a ready task is queued", run.id, task)
        if task.state is WAITING and (task.since_s, task.id) not in waiting:
            _broken("a waiting task will be woken", run.id, task)
    if flow.counts != counts:
        _broken("tasks are counted by state", run.id, flow.counts, counts)
    if not run.swept and len(committed) != run.committed:
        _broken("`committed` counts the committed tasks", run.id, run.committed, counts)
    if run.failed != sum(each[FAILED] for each in counts):
        _broken("`failed` counts the failed tasks", run.id, run.failed, counts)
    if _not_zero(flow.done) != flow.routes.counted(committed):
        _broken("committed tasks are counted by class", run.id, flow.done)


def _queued(flow: Flow) -> set[TaskId]:
    """Return the tasks that somebody will look at: nothing that is ready is forgotten."""
    queued = {task for tasks in flow.aside.values() for task in tasks}
    for lane in flow.lanes:
        queued.update(lane.ready)
        queued.update(lane.suspects)
    return queued


def _check_turns(machine: Machine, run: Run, flow: Flow) -> None:
    has_work = run.state is RunState.RUNNING and flow.open_count
    has_work = has_work and run.id not in machine.book.blocking and not flow.is_held
    if has_work and run.id not in machine.book.party(run.tenant).runs:
        _broken("a run with work has its turns", run.id)


def _check_task(machine: Machine, run: Run, task: Task) -> None:
    if task.state in HELD:
        _check_held(machine, run, task)
    committed = task.state is COMMITTED
    # One that is made again for its exchange files keeps what it published first.
    if task.id in run.outputs and not (committed or task.revived):
        _broken("only committed tasks have outputs", run.id, task)
    if task.id in run.parts and not committed:
        _broken("only committed tasks have exchange files", run.id, task)
    if run.state in ENDED and not (committed or task.state is TaskState.CANCELLED):
        _broken("an ended run has no open task", run.id, run.state, task)


def _check_held(machine: Machine, run: Run, task: Task) -> None:
    """A held task has its lease in its runner's queue, or the runner is gone.

    Gone: between `RunnerLost` and the `AttemptLost` that the machine asked to be journaled. By then
    the runner may be heard again, and have joined anew.
    """
    if (run.id, task.id, task.attempt, task.epoch) in machine.book.losing:
        return
    slot = machine.runners.get(task.runner) if task.runner is not None else None
    if slot is None:
        return
    lease = slot.queue.get((run.id, task.id))
    if lease is None or (lease.attempt, lease.epoch) != (task.attempt, task.epoch):
        _broken("a held task is queued on its runner", run.id, task, lease)


def _check_end(run: Run, flow: Flow) -> None:
    if (run.swept or flow.sweeping) and run.state not in ENDED:
        _broken("only an ended run is swept", run.id, run.state)
    if run.swept and (flow.held or run.outputs):
        _broken("a swept run holds nothing", run.id, flow.held, len(run.outputs))
    if run.state is RunState.DRAINING and flow.held == 0:
        _broken("a drained run has ended", run.id)
    if run.state is RunState.RUNNING and run.is_complete:
        _broken("a run whose tasks are all committed publishes", run.id)


def durable_view(machine: Machine) -> dict[str, Any]:
    """Return what a replay of the journal brings back: equal for the live and the replayed.

    A run that drains has ended to a replay, which holds no leases; `first_start_s` and
    `finished_s` are told by volatile events and are for people only.
    """
    book = machine.book
    view: dict[str, Any] = {run.id: _durable_run(run) for run in machine.runs.values()}
    if book.units or book.policy != Policy():
        policy = msgspec.to_builtins(book.policy)
        view["of the home"] = {"policy": policy, "units": msgspec.to_builtins(book.units)}
    return view


def _durable_run(run: Run) -> dict[str, Any]:
    view = {
        name: getattr(run, name)
        for name in run.__struct_fields__
        if name not in {"tasks", "target", "first_start_s", "finished_s"}
    }
    view["state"] = run.target or run.state
    by_task = {name: dict(view.pop(name)) for name in _BY_TASK}
    # Built anew, so that a later event does not change what was seen now.
    copied: dict[str, Any] = msgspec.to_builtins(view, str_keys=True)
    return {**copied, **by_task, "tasks": [_durable_task(task) for task in run.tasks]}


def _durable_task(task: Task) -> tuple[object, ...]:
    ended = not (task.state in HELD or task.state in {READY, WAITING})
    committed = task.state is COMMITTED
    return (
        task.state if ended else "open",
        (task.failures, task.strikes, task.shrink, task.last, task.failed_kind),
        (task.attempt, task.epoch, task.runner) if committed else (),
    )
