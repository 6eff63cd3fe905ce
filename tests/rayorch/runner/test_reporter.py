"""Facts go out in few calls, each until it is taken; silence means that the runner is gone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rayorch.clock import SystemClock
from rayorch.core.commands import Lease
from rayorch.core.facts import (
    AttemptFinished,
    AttemptProgressed,
    AttemptStarted,
    Fact,
    LeaseReturned,
)
from rayorch.core.values import AttemptOutput
from rayorch.ids import Epoch, TaskId
from rayorch.runner.attempt import Progress
from rayorch.runner.capture import LogLine
from rayorch.runner.desk import key_of
from rayorch.runner.reporter import LINES_KEPT_MAX, Reporter, ReportSettings
from tests.rayorch.runner import make

NEVER_S = 3600.0
QUIET = ReportSettings(linger_s=NEVER_S, progress_s=NEVER_S, heartbeat_s=NEVER_S, retry_s=0.001)
"""Nothing goes out but what is urgent, so that a test decides when."""


def lease(task: int) -> Lease:
    return Lease(run=make.RUN, task=TaskId(task), attempt=0, epoch=Epoch(1), stage=0)


def finished(task: int) -> AttemptFinished:
    return AttemptFinished(make.RUN, TaskId(task), 0, Epoch(1), make.RUNNER, AttemptOutput())


@contextmanager
def reporting(
    offer: Callable[[list[Fact]], None],
    settings: ReportSettings = QUIET,
    log: Callable[[list[LogLine]], None] | None = None,
) -> Iterator[Reporter]:
    reporter = Reporter(make.RUNNER, offer, log, SystemClock(), settings)
    thread = threading.Thread(target=reporter.run)
    thread.start()
    try:
        yield reporter
    finally:
        reporter.close()
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_an_attempt_that_ended_before_the_flush_was_never_said_to_start() -> None:
    control = make.Control()
    with reporting(control.offer) as reporter:
        reporter.started(lease(0), Progress())
        reporter.ended(finished(0), urgent=True)
        control.wait_for(bool)

    assert control.facts == [finished(0)]


def test_a_start_is_said_when_the_attempt_goes_on() -> None:
    control = make.Control()
    with reporting(control.offer, ReportSettings(heartbeat_s=NEVER_S)) as reporter:
        reporter.started(lease(0), Progress())
        facts = control.wait_for(bool)

    assert facts == [AttemptStarted(make.RUN, TaskId(0), 0, Epoch(1), make.RUNNER)]


def test_what_is_said_during_an_offer_shares_the_next_one() -> None:
    control = make.Control()
    offering, go_on = threading.Event(), threading.Event()

    def slow_offer(facts: list[Fact]) -> None:
        if not offering.is_set():
            offering.set()
            assert go_on.wait(timeout=30)
        control.offer(facts)

    with reporting(slow_offer) as reporter:
        reporter.ended(finished(0), urgent=True)
        assert offering.wait(timeout=30)
        for task in range(1, 100):
            reporter.ended(finished(task), urgent=True)
        go_on.set()
        control.ends(100)

    assert [len(facts) for facts in control.offers if facts] == [1, 99]


def test_facts_are_kept_in_order_until_an_offer_returns() -> None:
    """The control actor is down for three calls; one more fact comes meanwhile."""
    control = make.Control()
    failures = [ConnectionError("down"), TimeoutError(), RuntimeError("actor died")]
    reporter_of: list[Reporter] = []

    def offer(facts: list[Fact]) -> None:
        if failures:
            if len(failures) == 3:
                reporter_of[0].ended(finished(1), urgent=True)
            raise failures.pop()
        control.offer(facts)

    with reporting(offer) as reporter:
        reporter_of.append(reporter)
        reporter.ended(finished(0), urgent=True)
        control.ends(2)
        assert reporter.unacknowledged() == [] or control.facts

    assert control.facts == [finished(0), finished(1)]


def test_an_end_is_unacknowledged_until_the_offer_has_returned() -> None:
    offering, go_on = threading.Event(), threading.Event()

    def offer(facts: list[Fact]) -> None:
        offering.set()
        assert go_on.wait(timeout=30)

    with reporting(offer) as reporter:
        reporter.ended(finished(0), urgent=True)
        assert offering.wait(timeout=30)
        reporter.ended(finished(1), urgent=False)
        assert reporter.unacknowledged() == [key_of(lease(0)), key_of(lease(1))]
        go_on.set()

    assert reporter.unacknowledged() == []


def test_progress_is_the_heartbeat_of_a_running_attempt() -> None:
    control = make.Control()
    progress = Progress(rows=3, size_bytes=24)
    settings = ReportSettings(linger_s=0.001, progress_s=0.01, heartbeat_s=NEVER_S)
    with reporting(control.offer, settings) as reporter:
        reporter.started(lease(0), progress)
        facts = control.wait_for(lambda facts: len(facts) >= 3)

    assert AttemptProgressed(make.RUN, TaskId(0), 0, Epoch(1), make.RUNNER, 3, 24) in facts
    assert reporter.running() == key_of(lease(0))


def test_an_idle_runner_beats_with_empty_offers() -> None:
    beats = threading.Semaphore(0)
    settings = ReportSettings(linger_s=0.001, heartbeat_s=0.01)
    offers: list[list[Fact]] = []

    def offer(facts: list[Fact]) -> None:
        offers.append(facts)
        beats.release()

    with reporting(offer, settings):
        for _ in range(3):
            assert beats.acquire(timeout=30)

    assert not any(offers)


def test_a_runner_that_can_work_no_more_is_silent() -> None:
    offered = threading.Event()
    reporter = Reporter(make.RUNNER, lambda facts: offered.set(), None, SystemClock(), QUIET)
    reporter.fall_silent()

    reporter.run()

    assert not offered.is_set()


def test_silence_ends_the_retries_too() -> None:
    reporter_of: list[Reporter] = []

    def offer(facts: list[Fact]) -> None:
        reporter_of[0].fall_silent()
        raise ConnectionError

    with reporting(offer) as reporter:
        reporter_of.append(reporter)
        reporter.ended(finished(0), urgent=True)


def test_returned_leases_are_said_at_once() -> None:
    control = make.Control()
    with reporting(control.offer) as reporter:
        reporter.returned([lease(4)])
        facts = control.wait_for(bool)

    assert facts == [LeaseReturned(make.RUN, TaskId(4), 0, Epoch(1), make.RUNNER)]


def test_printed_lines_come_before_the_end_of_their_attempt() -> None:
    order: list[object] = []
    line = line_of("hello")

    with reporting(order.extend, log=order.extend) as reporter:
        reporter.line(line)
        reporter.ended(finished(0), urgent=True)

    assert order == [line, finished(0)]


def test_a_log_that_fails_holds_no_fact_back() -> None:
    """And gets its lines with the next round."""
    control = make.Control()
    failures = [OSError("the disk of the log")]

    def log(lines: list[LogLine]) -> None:
        if failures:
            raise failures.pop()
        control.log(lines)

    with reporting(control.offer, log=log) as reporter:
        reporter.line(line_of("first"))
        reporter.ended(finished(0), urgent=True)
        control.ends(1)
        assert control.lines == []
        reporter.line(line_of("second"))
        reporter.ended(finished(1), urgent=True)
        control.ends(2)

    assert [line.text for line in control.lines] == ["first", "second"]


def line_of(text: str) -> LogLine:
    return LogLine(make.RUN, 0, TaskId(0), 0, "stdout", text, 1.0)


def test_lines_are_not_kept_without_end() -> None:
    control = make.Control()
    reporter = Reporter(make.RUNNER, control.offer, control.log, SystemClock(), QUIET)
    line = line_of("hello")

    for _ in range(LINES_KEPT_MAX + 5):
        reporter.line(line)

    assert len(reporter._lines) == LINES_KEPT_MAX


def test_closing_while_nobody_listens_ends() -> None:
    def offer(facts: list[Fact]) -> None:
        raise ConnectionError("down")

    with reporting(offer) as reporter:
        reporter.ended(finished(0), urgent=True)

    assert reporter.unacknowledged() == [key_of(lease(0))]
