"""Known mistakes of protocols like ours, to be made on purpose: the simulation must find each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import pytest
from msgspec import structs

from connectors.errors import ObjectMissingError, StoreUnavailableError, StoreUnsureError
from rayorch.clock import SteadyClock
from rayorch.core import accounts, attempts, limiting, settling, task
from rayorch.core.book import Book
from rayorch.core.commands import Command, KillRunner, Lease, RevokeLeases
from rayorch.core.facts import AttemptFinished, Event, Fact, Ticked, is_durable
from rayorch.core.leasing import RunnerSlot
from rayorch.core.placed import NodeWindow
from rayorch.core.run import Run
from rayorch.core.task import TRANSITIONS, Row, Task, TaskState
from rayorch.core.values import Held
from rayorch.journal.log import LOG, Journal, segment_key
from rayorch.journal.segment import decode_segment
from rayorch.sim.cluster import SimCluster
from rayorch.sim.config import EARLIER, SimConfig, SimFaults, SimPool
from rayorch.sim.control import SimControl
from rayorch.sim.runner import SimRunner

Patch = pytest.MonkeyPatch
_ENTER: Final = accounts.enter
Mistake = Callable[[Patch], None]


def executes_before_it_journals(patch: Patch) -> None:
    """What is asked of the world rests on events that a restart forgets."""

    def apply(self: SimControl, facts: Sequence[Fact]) -> None:
        news = [self.machine.admitted(fact) for fact in facts]
        while news:
            events = self._stamped(news)
            news = self._handled(events)
            durable = [event for event in events if is_durable(event.fact)]
            if durable:
                self._append(durable)
        if news := self._handled(self._stamped([Ticked()])):
            self._apply(news)

    patch.setattr(SimControl, "_apply", apply)


def begins_leases_of_an_older_epoch(patch: Patch) -> None:
    """A runner does not look whether who speaks still leads."""

    def enqueue(self: SimRunner, leases: tuple[Lease, ...]) -> None:
        if self.alive:
            self.queue.extend(lease for lease in leases if not self._has(lease))
            self._next()

    patch.setattr(SimRunner, "enqueue", enqueue)


def takes_in_what_it_has(patch: Patch) -> None:
    """A runner that is told the same lease twice works on it twice."""
    patch.setattr(SimRunner, "_has", lambda self, lease: False)


def revokes_no_lease(patch: Patch) -> None:
    """A runner that comes back with what was given to others, or is over, is not told."""
    real = SimCluster.execute

    def execute(self: SimCluster, command: Command) -> None:
        if not isinstance(command, RevokeLeases):
            real(self, command)

    patch.setattr(SimCluster, "execute", execute)


def looks_not_after_a_put_that_took_long(patch: Patch) -> None:
    """A leader that slept between its look and its put does not look whether it still leads."""
    patch.setattr(Journal, "_slept_s", lambda self: 0.0)


def bills_a_reading_twice(patch: Patch) -> None:
    """A reading of a node goes on from where the one before began, and nobody compares."""

    def enter(books: accounts.Accounts, paid: accounts.PaidBy, window: NodeWindow) -> None:
        account = books.nodes.get(window.node)
        if account is not None and window.to_s > window.from_s:
            account.through_s = account.opened_s
            window = structs.replace(window, from_s=account.opened_s)
        _ENTER(books, paid, window)

    patch.setattr(accounts, "enter", enter)


def lets_a_quota_be_exceeded(patch: Patch) -> None:
    """A tenant is given as many runners as there are."""
    patch.setattr(limiting, "may_grow", lambda book, party, slot: True)


def spends_beyond_a_quota(patch: Patch) -> None:
    """Nobody looks what a tenant has spent."""
    patch.setattr(limiting, "block_spent", lambda book, event: ())


def takes_an_unknown_create_for_done(patch: Patch) -> None:
    """A create whose outcome is unknown is taken for a success."""

    def create(self: Journal, n: int, data: bytes) -> bool:
        try:
            return self._store.put_if_absent(segment_key(n), data) == "won"
        except (StoreUnsureError, StoreUnavailableError):
            return True

    patch.setattr(Journal, "_create", create)


def takes_a_taken_number_for_its_own(patch: Patch) -> None:
    """A number that is taken is not compared with what was to be written there."""
    patch.setattr(Journal, "_create", _always_won)


def _always_won(self: Journal, n: int, data: bytes) -> bool:
    self._patiently(segment_key(n), lambda: self._store.put_if_absent(segment_key(n), data))
    return True


def collects_before_it_is_covered(patch: Patch) -> None:
    """Segments are deleted whose snapshot has not been written."""

    def collect(self: Journal) -> int:
        doomed = [info.key for info in self._store.list(LOG)][:-3]
        self._store.delete(doomed)
        return len(doomed)

    patch.setattr(Journal, "collect", collect)


def starts_from_a_snapshot_of_the_future(patch: Patch) -> None:
    """A snapshot says that it covers one segment more than it does."""
    real = Journal._restore

    def restore(self: Journal, take: Callable[..., None]) -> None:
        real(self, take)
        try:
            key = segment_key(self._next)
            segment = decode_segment(key, self._next, self._store.get(key))
        except ObjectMissingError:
            return
        if self._next > 1 and segment.header.kind == "data":
            self._prev, self._next = segment.checksum, self._next + 1

    patch.setattr(Journal, "_restore", restore)


def lets_the_last_report_win(patch: Patch) -> None:
    """A later report of a task takes the place of the one that was committed."""
    pair = (TaskState.COMMITTED, AttemptFinished)
    patch.setitem(TRANSITIONS, pair, Row(frozenset({TaskState.COMMITTED}), task._commit))


def uses_an_attempts_number_twice(patch: Patch) -> None:
    """The next attempt is numbered after the one that committed, not after the last one given."""

    def next_attempt(self: Book, run: Run, of: Task) -> int:
        del self, run
        return of.attempt + 1

    patch.setattr(Book, "_next_attempt", next_attempt)


def commits_what_was_leased_before_a_loss(patch: Patch) -> None:
    """A task whose files were lost takes every report but that of the files."""

    def is_spoilt(of: Task, event: AttemptFinished) -> bool:
        return (event.epoch, event.attempt) == of.spoilt

    patch.setattr(task, "_is_spoilt", is_spoilt)


def publishes_under_a_new_name_each_time(patch: Patch) -> None:
    """A publication that is asked for again is another one."""
    real = settling._publish

    def publish(run: Run, flow: object, cause: int, at_s: float) -> list[Command]:
        run.generation = int(cause)
        return list(real(run, flow, cause, at_s))  # type: ignore[arg-type]

    patch.setattr(settling, "_publish", publish)


def never_kills_what_hangs(patch: Patch) -> None:
    """A runner whose attempt is past its time-out is let be."""
    real = SimCluster.execute

    def execute(self: SimCluster, command: Command) -> None:
        if not isinstance(command, KillRunner):
            real(self, command)

    patch.setattr(SimCluster, "execute", execute)


def tells_the_time_of_its_machine(patch: Patch) -> None:
    """Events have the time of day of whatever machine the control actor is on."""
    patch.setattr(SteadyClock, "go_on_from", lambda self, at_s: None)


def takes_nothing_back(patch: Patch) -> None:
    """A runner that is met again is not told that what it holds was given to others."""
    adopted = attempts._adopted

    def silently(book: Book, slot: RunnerSlot, held: Held, event: Event) -> None:
        adopted(book, slot, held, event)

    patch.setattr(attempts, "_adopted", silently)


MISTAKES: Final[tuple[Mistake, ...]] = (
    executes_before_it_journals,
    takes_an_unknown_create_for_done,
    takes_a_taken_number_for_its_own,
    starts_from_a_snapshot_of_the_future,
    lets_the_last_report_win,
    publishes_under_a_new_name_each_time,
    never_kills_what_hangs,
    tells_the_time_of_its_machine,
    takes_in_what_it_has,
    looks_not_after_a_put_that_took_long,
    bills_a_reading_twice,
    lets_a_quota_be_exceeded,
    spends_beyond_a_quota,
)
RARE: Final[tuple[Mistake, ...]] = (
    commits_what_was_leased_before_a_loss,
    begins_leases_of_an_older_epoch,
    uses_an_attempts_number_twice,
    collects_before_it_is_covered,
    takes_nothing_back,
    revokes_no_lease,
)
"""What takes dozens or hundreds of seeds to be found."""

WHERE: Final[dict[Mistake, SimConfig]] = {
    takes_a_taken_number_for_its_own: replace(
        EARLIER, faults=replace(EARLIER.faults, control_usurped=20, every_s=1.5)
    ),
    looks_not_after_a_put_that_took_long: replace(
        EARLIER,
        runs=1,
        tasks_max=6,
        snapshot_segments=3,
        faults=replace(EARLIER.faults, control_usurped=20, every_s=1.5, long_sleep=0.5),
    ),
    commits_what_was_leased_before_a_loss: SimConfig(
        pools=(SimPool(runners=6),),
        exchanged=1.0,
        merged=0.0,
        small=0.0,
        elastic=0.0,
        quotas=0.0,
        runs=1,
        tasks_max=3,
        database_units=0,
        task_s=3.0,
        task_sigma=1.0,
        faults=SimFaults(
            until_s=120.0,
            every_s=4.0,
            link_cut=20,
            runner_pause=10,
            cluster_death=0,
            control_usurped=0,
            pool_lost=0,
            attempt_fails=0.0,
            exchange_lost=0.5,
        ),
    ),
    uses_an_attempts_number_twice: SimConfig(
        exchanged=1.0,
        runs=1,
        tasks_max=8,
        faults=SimFaults(until_s=60.0, every_s=1.5, link_cut=20, exchange_lost=0.3),
    ),
}
"""The trouble in which some of them show sooner."""
