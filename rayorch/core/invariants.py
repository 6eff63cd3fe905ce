"""What holds after every event, checked over the whole machine.

Tests run `check` after each event, simulations a `Watch`, production `check` now and then, and a
breach stops the control actor. `durable_view` is the other half: the part of the state that a
replay of the journal must bring back.
"""

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from rayorch.core.accounts import whole
from rayorch.core.book import done_of
from rayorch.core.facts import Event
from rayorch.core.leasing import QUEUE_MAX, RunnerSlot
from rayorch.core.machine import Machine
from rayorch.core.policy import Policy
from rayorch.core.run import ACTIVE, ENDED, UNPLANNED, Flow, Run, RunState
from rayorch.core.task import HELD, Task, TaskState
from rayorch.errors import InvariantError
from rayorch.ids import RunId, RunnerId

if TYPE_CHECKING:
    from rayorch.ids import TaskId

CORES_OFF: Final = 1e-6
"""By which sums of cores may be off, and no more."""
WATCHED_A_EVENT: Final = 30
WATCHED_OF_MANY: Final = 3
"""Tasks and leases that a `Watch` looks at for each event, on average, of few and of many."""
MANY: Final = 2_000

_UNPUBLISHED = UNPLANNED | {RunState.RUNNING, RunState.DRAINING}
_PUBLISHED = frozenset({RunState.PUBLISHING, RunState.SUCCEEDED})


def check(machine: Machine) -> None:
    """Look at everything that must hold. Raises: InvariantError, naming the rule that does not."""
    for slot in machine.runners.values():
        _check_slot(machine, slot)
    _check_leases(machine)
    _check_indexes(machine)
    _check_units(machine)
    _check_accounts(machine)
    for run in machine.runs.values():
        flow = machine.flows[run.id]
        _check_run(run)
        _check_tasks(machine, run)
        _check_queues(run, flow)
        _check_end(run, flow)


class Watch:
    """Looks at what each event touched, and at everything as often as its size allows.

    A state of a few dozen tasks is looked at whole after each event, one of a hundred thousand once
    in a thousand: what is wrong stays wrong, so it is found a little later, at a bounded cost.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._credit = 0

    def saw(self, event: Event) -> None:
        """Look after an event was applied. Raises: InvariantError."""
        size = self._size()
        self._credit += WATCHED_A_EVENT if size < MANY else WATCHED_OF_MANY
        if self._credit >= size:
            self._credit = 0
            check(self._machine)
            return
        fact = event.fact
        slot = self._machine.runners.get(getattr(fact, "runner", None) or RunnerId(""))
        if slot is not None:
            _check_slot(self._machine, slot)
        run = self._machine.runs.get(getattr(fact, "run", None) or RunId(""))
        if run is not None:
            task = getattr(fact, "task", None)
            if task is not None and 0 <= task < len(run.tasks):
                _check_task(self._machine, run, run.tasks[task])
            _check_end(run, self._machine.flows[run.id])

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
    tenants = {machine.runs[lease.run].tenant for lease in slot.queue.values()}
    if tenants != ({slot.holder} if slot.holder is not None else set()):
        _broken("a runner serves one tenant at a time", slot.id, slot.holder, tenants)
    for key, lease in slot.queue.items():
        if key != (lease.run, lease.task) or lease.run not in machine.runs:
            _broken("a lease is queued under its own run and task", slot.id, key, lease)


def _check_leases(machine: Machine) -> None:
    """One attempt is in one queue, and `held` counts what is queued."""
    queued = [lease for slot in machine.runners.values() for lease in slot.queue.values()]
    attempts = Counter((each.run, each.task, each.attempt, each.epoch) for each in queued)
    for attempt, count in attempts.items():
        if count > 1:
            _broken("an attempt is leased to one runner", attempt, count)
    held = Counter(lease.run for lease in queued)
    for run, flow in machine.flows.items():
        if flow.held != held[run]:
            _broken("`held` counts the leases of a run", run, flow.held, held[run])


def _check_indexes(machine: Machine) -> None:
    """What is kept along, so that nobody has to look for it, is what a look would find."""
    book, slots = machine.book, list(machine.runners.values())
    living = [slot for slot in slots if not slot.shut]
    idle = {slot.id for slot in living if not slot.queue}
    if idle != {runner for some in book.idle.values() for runner in some}:
        _broken("runners with nothing to do are known", sorted(idle), book.idle)
    hungry = {slot.id for some in book.hungry.values() for slot in some.values()}
    if not hungry <= {slot.id for slot in living if slot.queue}:
        _broken("only a living runner with leases may take more", sorted(hungry))
    if book.cluster.slots != len(living) or book.cluster.living != Counter(s.pool for s in living):
        _broken("living runners are counted", book.cluster.slots, book.cluster.living)
    for party in book.parties.values():
        mine = [slot for slot in slots if slot.holder == party.id]
        if party.slots != len(mine) or abs(party.cores - sum(s.cores for s in mine)) > CORES_OFF:
            _broken("what a tenant holds is counted", party.id, party.slots, len(mine))
        if set(party.deep) != {slot.id for slot in mine if len(slot.queue) > 1}:
            _broken("runners with leases behind the first are known", party.id, list(party.deep))
    for run in machine.runs.values():
        _check_run_indexes(machine, run)


def _check_units(machine: Machine) -> None:
    """What is held of outside resources is counted, within its limit, and by whoever uses it."""
    book = machine.book
    held: Counter[str] = Counter()
    for units in book.units.values():
        held.update(units)
    for claim in book.claims.values():
        held.update(dict(claim))
    if +held != +book.used:
        _broken("what is held of outside resources is counted", dict(held), dict(book.used))
    for slot in machine.runners.values():
        for lease in slot.queue.values():
            for name, used in machine.runs[lease.run].stages[lease.stage].uses:
                if book.units.get(slot.id, {}).get(name, 0) < used:
                    _broken("who uses an outside resource holds it", slot.id, lease, name)


def _check_run_indexes(machine: Machine, run: Run) -> None:
    flow = machine.flows[run.id]
    on = Counter(
        slot.id
        for slot in machine.runners.values()
        for lease in slot.queue.values()
        if lease.run == run.id
    )
    if flow.on != on:
        _broken("runners that hold a run's leases are known", run.id, flow.on, on)
    done = {number: count for number, count in flow.done.items() if count}
    if done != done_of(run, flow.routes):
        _broken("committed tasks are counted by class", run.id, done)
    has_work = run.state is RunState.RUNNING and flow.open_count
    has_work = has_work and run.id not in machine.book.blocking and not flow.is_held
    if has_work and run.id not in machine.book.party(run.tenant).runs:
        _broken("a run with work has its turns", run.id)


def _check_accounts(machine: Machine) -> None:
    """What runs pay for nodes, and what nobody pays, is what the nodes cost."""
    accounts = machine.accounts
    for pool, billed in accounts.billed.items():
        total = whole(accounts.unassigned.get(pool, {}))
        for account in accounts.nodes.values():
            if account.pool == pool:
                total.add(account.early)
        for run in machine.runs.values():
            total.add(whole(run.paid.get(pool, {})))
        is_close = math.isclose(total.core_s, billed.core_s, rel_tol=1e-9, abs_tol=1e-6)
        if total.nano_usd != billed.nano_usd or not is_close:
            _broken("what is paid is what nodes cost", pool, total, billed)


def _check_run(run: Run) -> None:
    states = Counter(task.state for task in run.tasks)
    if not run.swept and states[TaskState.COMMITTED] != run.committed:
        _broken("`committed` counts the committed tasks", run.id, run.committed, states)
    if states[TaskState.FAILED] != run.failed:
        _broken("`failed` counts the failed tasks", run.id, run.failed, states)
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


def _check_tasks(machine: Machine, run: Run) -> None:
    for task in run.tasks:
        _check_task(machine, run, task)


def _check_task(machine: Machine, run: Run, task: Task) -> None:
    if task.state in HELD:
        _check_held(machine, run, task)
    committed = task.state is TaskState.COMMITTED
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


def _check_queues(run: Run, flow: Flow) -> None:
    """Nothing is forgotten: what is ready is queued, what waits will be woken."""
    found = Counter((task.stage, task.state) for task in run.tasks)
    for stage, counts in enumerate(flow.counts):
        for state, count in counts.items():
            if found[stage, state] != count:
                _broken("tasks are counted by state", run.id, (stage, state, count, found))
    if run.state not in ACTIVE or run.state in UNPLANNED:
        return
    aside = {task for tasks in flow.aside.values() for task in tasks}
    lanes = [task for _, *queues in flow.lanes for queue in queues for task in queue]
    queued = {*lanes, *aside}
    waiting: dict[TaskId, set[float]] = {}
    for until_s, task_id in flow.waiting:
        waiting.setdefault(task_id, set()).add(until_s)
    for task in run.tasks:
        if task.state is TaskState.READY and task.id not in queued:
            _broken("a ready task is queued", run.id, task)
        if task.state is TaskState.WAITING and task.since_s not in waiting.get(task.id, ()):
            _broken("a waiting task will be woken", run.id, task)


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
    view["tasks"] = [_durable_task(task) for task in run.tasks]
    # Built anew, so that a later event does not change what was seen now.
    copied: dict[str, Any] = msgspec.to_builtins(view, str_keys=True)
    return copied


def _durable_task(task: Task) -> tuple[object, ...]:
    ended = not (task.state in HELD or task.state in {TaskState.READY, TaskState.WAITING})
    committed = task.state is TaskState.COMMITTED
    return (
        task.state if ended else "open",
        (task.failures, task.strikes, task.shrink, task.last, task.failed_kind),
        (task.attempt, task.epoch, task.runner) if committed else (),
    )
