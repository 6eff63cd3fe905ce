"""What a host in this process tells its followers."""

import os
import threading

from rayorch.core.facts import Event, RunSwept, Ticked
from rayorch.core.machine import Machine
from rayorch.host.leader import this_process
from rayorch.host.local import News
from rayorch.ids import EventId
from tests.rayorch.host.make import RUN


def test_news_of_a_run_wakes_who_waits() -> None:
    news = News()
    woken = threading.Event()

    def wait() -> None:
        news.wait(30.0)
        woken.set()

    threading.Thread(target=wait, daemon=True).start()
    news.saw([Event(EventId(1), 0.0, RunSwept(RUN, 0))], Machine())

    assert woken.wait(10.0)


def test_what_happened_before_the_wait_counts_and_only_once() -> None:
    news = News()
    news.saw([Event(EventId(1), 0.0, RunSwept(RUN, 0))], Machine())

    news.wait(30.0)

    assert not news._happened.is_set()


def test_attempts_and_ticks_are_no_news() -> None:
    """There are thousands a second of them: who follows looks some times a second anyway."""
    news = News()
    news.saw([Event(EventId(1), 0.0, Ticked())], Machine())

    assert not news._happened.is_set()


def test_a_process_signs_with_its_own_pid() -> None:
    assert this_process("x").pid == os.getpid()
