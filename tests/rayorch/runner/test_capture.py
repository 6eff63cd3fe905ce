# ruff: noqa: T201 - printing is what is tested
"""What user code prints is kept per attempt, whole lines at a time, and never without end."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rayorch.clock import ManualClock
from rayorch.ids import TaskId
from rayorch.runner.capture import (
    CAPTURE_BYTES_MAX,
    CUT_MARKER,
    AttemptCapture,
    LogLine,
    Tee,
    begin_capture,
    end_capture,
    install_tee,
    remove_tee,
)
from tests.rayorch.runner import make


@contextmanager
def printing(task: int = 0, *, echo: bool = False) -> Iterator[list[LogLine]]:
    """Compute the attempt of a task: what is printed inside comes out as lines.

    No fixture: pytest puts its own streams back between a test's set-up and its call.
    """
    kept: list[LogLine] = []
    install_tee(echo=echo)
    key = (make.RUN, 0, TaskId(task), 1)
    begin_capture(AttemptCapture(key, ManualClock(5.0), kept.append))
    try:
        yield kept
    finally:
        end_capture()
        remove_tee()


def test_lines_know_their_attempt_stream_and_time() -> None:
    with printing() as lines:
        print("one")
        print("two", file=sys.stderr)

    assert lines == [
        LogLine(make.RUN, 0, TaskId(0), 1, "stdout", "one", 5.0),
        LogLine(make.RUN, 0, TaskId(0), 1, "stderr", "two", 5.0),
    ]


def test_a_line_goes_out_when_it_is_whole_or_the_attempt_ends() -> None:
    with printing() as lines:
        print("a", "b", end="")
        assert lines == []
        print("c\nd", end="")
        assert [line.text for line in lines] == ["a bc"]

    assert [line.text for line in lines] == ["a bc", "d"]


def test_other_threads_write_through(capsys: pytest.CaptureFixture[str]) -> None:
    with printing() as lines:
        thread = threading.Thread(target=print, args=("not of the attempt",))
        thread.start()
        thread.join()

    assert lines == []
    assert capsys.readouterr().out == "not of the attempt\n"


def test_two_attempts_at_once_keep_their_lines_apart() -> None:
    """In-process, several runners share one process: a barrier makes them print at once."""
    others: list[LogLine] = []
    barrier = threading.Barrier(2, timeout=30)

    def print_many() -> None:
        key = (make.RUN, 0, TaskId(1), 1)
        begin_capture(AttemptCapture(key, ManualClock(), others.append))
        for number in range(50):
            barrier.wait()
            print("other", number)
        end_capture()

    with printing() as lines:
        thread = threading.Thread(target=print_many)
        thread.start()
        for number in range(50):
            barrier.wait()
            print("mine", number)
        thread.join()

    assert [line.text for line in lines] == [f"mine {number}" for number in range(50)]
    assert [line.text for line in others] == [f"other {number}" for number in range(50)]


def test_too_much_is_cut_and_marked_once() -> None:
    with printing() as lines:
        for number in range(10_000):
            print("row", number)

    assert lines[-1].text == CUT_MARKER
    assert [line.text for line in lines].count(CUT_MARKER) == 1
    assert sum(len(line.text) + 1 for line in lines[:-1]) < CAPTURE_BYTES_MAX


def test_a_line_without_end_is_cut() -> None:
    with printing() as lines:
        for _ in range(100):
            print("x" * 10_000, end="")

    assert [line.text for line in lines] == [CUT_MARKER]


def test_with_echo_the_stream_behind_gets_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with printing(echo=True) as lines:
        print("both")

    assert [line.text for line in lines] == ["both"]
    assert capsys.readouterr().out == "both\n"


def test_the_tee_passes_for_the_stream_behind() -> None:
    with printing():
        install_tee(echo=False)
        tee = sys.stdout
        assert isinstance(tee, Tee)
        assert not isinstance(tee.behind, Tee)
        assert tee.encoding == tee.behind.encoding
        assert tee.isatty() == tee.behind.isatty()
        assert tee.writable()
        tee.flush()

    assert not isinstance(sys.stdout, Tee)


def test_what_utf8_cannot_hold_is_kept_by_its_escape() -> None:
    with printing() as lines:
        print("a\udcff.csv")

    assert [line.text for line in lines] == ["a\\udcff.csv"]
