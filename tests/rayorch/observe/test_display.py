"""A run is played to the displays, view by view; no clock, no terminal."""

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from rayorch.core.run import Failure, Totals
from rayorch.core.values import ErrorInfo
from rayorch.ids import TaskId
from rayorch.observe.display import LiveDisplay, Pace, PlainDisplay, auto_display, picture
from rayorch.observe.view import RunView, StageView
from tests.rayorch.observe.views import published, view

WIDTH = 100


def running(at_s: float, committed: int, tasks: int = 40, **fields: object) -> RunView:
    """A run of one stage whose tasks have 1,000 rows and take a second."""
    stage = StageView(name="lines", tasks=tasks, committed=committed, running=2, expected_s=1.0)
    done = Totals(rows_in=1000 * committed, bytes_in=(committed << 20))
    plain: dict[str, object] = {"stages": (stage,), "totals": done, "runners": 2}
    return view(at_s=at_s, tasks=tasks, committed=committed, **{**plain, **fields})


def drawn(seen: RunView, pace: Pace | None = None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, highlight=False, color_system=None)
    console.print(picture(seen, pace or Pace()))
    return out.getvalue()


def play(views: Iterator[RunView] | list[RunView]) -> list[str]:
    out = io.StringIO()
    display = PlainDisplay(out)
    for seen in views:
        display.update(seen)
    return out.getvalue().splitlines()


def test_plain_lines_come_on_each_change_of_state_and_every_five_seconds() -> None:
    """Fifty views in ten seconds are two lines between the changes of state."""
    views = [view(state="planning")]
    views += [running(1000.0 + i / 5, i // 2) for i in range(50)]
    views += [running(1010.2, 40, state="publishing")]

    lines = play(views)

    assert [line.partition(", ")[0] for line in lines] == [
        "nightly-1 0.00 s: planning: listing inputs",
        "nightly-1 0.00 s: running",
        "nightly-1 5.00 s: running",
        "nightly-1 10.2 s: publishing: making the outputs visible",
    ]


def test_a_plain_line_has_tasks_rows_rate_and_time_left() -> None:
    lines = play([running(1000.0, 0), running(1005.0, 10)])

    assert lines[1] == (
        "nightly-1 5.00 s: running, 10/40 tasks, 10,000 rows, 10.0 MiB, 2,000 rows/s, "
        "2.00 MiB/s, about 14 s left, 2 running on 2 runners"
    )


def test_rates_are_those_of_the_last_seconds() -> None:
    """A run that was fast for a minute and then stands still is slow."""
    pace = Pace()
    for second in range(60):
        pace.note(running(1000.0 + second, min(second * 10, 300)))

    assert pace.rates == (0.0, 0.0, 0.0)


def test_nothing_is_said_of_rates_before_there_are_any() -> None:
    pace = Pace()
    pace.note(running(1000.0, 0))

    assert pace.rates == (0.0, 0.0, 0.0)
    assert "rows/s" not in drawn(running(1000.0, 0), pace)


def test_a_stage_that_has_not_begun_counts_in_the_time_left() -> None:
    """Thirty tasks of a second each, of which none has been seen, on two runners."""
    seen = running(1001.0, 10, tasks=10)
    unbegun = StageView(name="orders", tasks=30)
    both = running(1001.0, 10, stages=(*seen.stages, unbegun))

    assert Pace().left_s(both) == pytest.approx(14.5, abs=0.6)


def test_the_picture_has_a_bar_for_each_stage_and_what_troubles_it() -> None:
    stages = (
        StageView(name="lines", tasks=40, committed=20, running=2),
        StageView(name="orders", tasks=8, committed=1, waiting=3, failed=1),
    )
    failure = Failure(TaskId(7), 0, "user", 1001.0, ErrorInfo(message="no such price\nmore"))

    text = drawn(running(1001.0, 21, tasks=48, stages=stages, failures=(failure,)))

    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "nightly-1  1.00 s  running"
    assert lines[1].startswith("  lines   ━━━━━")
    assert lines[1].endswith("20/40 tasks  2 running")
    assert lines[2].endswith("1/8 tasks  3 waiting to be retried, 1 failed")
    assert lines[4] == "  last failure: task 7, user: no such price"


def test_a_run_that_waits_for_a_place_on_the_cluster_says_so() -> None:
    """A cluster whose cores are all taken gives no runner, and no error either."""
    text = drawn(running(1001.0, 0, runners=0))

    assert "no runner yet: one is starting, or waits for free cores" in text


def test_many_stages_are_not_all_drawn() -> None:
    stages = tuple(StageView(name=f"stage {i}", tasks=1) for i in range(50))

    text = drawn(running(1001.0, 0, tasks=50, stages=stages))

    assert "and 38 stages more" in text
    assert len(text.splitlines()) < 20


def test_a_live_display_leaves_the_report_and_the_cursor_behind() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=WIDTH, highlight=False)
    display = LiveDisplay(console)

    display.starting("starting Ray ...")
    display.update(running(1000.0, 1))
    display.stopping(running(1000.5, 1))
    display.finish(running(1001.0, 40, state="succeeded", published=(published(),)))
    display.close()

    hide, show = "\x1b[?25l", "\x1b[?25h"
    text = out.getvalue()
    assert text.count(hide) == text.count(show) == 1
    assert "Ctrl-C again stops at once" in text
    assert "nightly-1 succeeded in" in text.rpartition(show)[2]


def test_a_live_display_draws_no_more_often_than_eyes_can_see() -> None:
    out = io.StringIO()
    display = LiveDisplay(Console(file=out, force_terminal=True, width=WIDTH))

    for hundredth in range(100):
        display.update(running(1000.0 + hundredth / 100, 1))
    display.close()

    assert out.getvalue().count("running on 2 runners") <= 10


def test_elsewhere_than_on_a_terminal_lines_are_plain() -> None:
    assert isinstance(auto_display(io.StringIO()), PlainDisplay)


def test_without_reports_the_end_is_silent() -> None:
    out = io.StringIO()

    PlainDisplay(out, reports=False).finish(running(1001.0, 40, state="succeeded"))

    assert out.getvalue() == ""


def test_a_report_judges_by_the_deadline_that_was_expected() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)

    display.expect(20.0)
    display.finish(view(state="succeeded", finished_s=1012.0))

    assert "  deadline  kept: 20.0 s, 8.00 s to spare\n" in stream.getvalue()
