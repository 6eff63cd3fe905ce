"""Kill anything at any moment: the data is what an undisturbed run writes.

Each test was seen to fail with the protection that it names taken out.
"""

import pyarrow as pa
import pytest

from rayorch.core.facts import AttemptFinished, AttemptLost, Led
from tests.cluster.drill import FILES, Drill

RUNNER_POINTS = (
    "runner.before_read",
    "runner.computing",
    "runner.after_stage",
    "runner.after_report",
)
CONTROL_POINTS = (
    "host.after_plan",
    "host.before_commit",
    "host.after_commit",
    "host.before_publish",
    "host.after_publish",
    "host.after_sweep",
)


def test_an_undisturbed_run_writes_each_row_once(drill: Drill) -> None:
    control = drill.control()
    run = drill.submit(control)

    view = drill.follow(control, run)

    drill.check_output(view)
    assert view.retries == 0


@pytest.mark.parametrize("point", RUNNER_POINTS)
def test_a_runner_may_die_at_any_step_of_an_attempt(drill: Drill, point: str) -> None:
    """Protection: an attempt writes under its own name, and only the journal makes it count."""
    mark = drill.arm(point)
    control = drill.control()
    run = drill.submit(control)

    view = drill.follow(control, run)

    assert mark.exists(), "the failpoint was never reached"
    drill.check_output(view)
    finished = [e.fact for e in drill.events() if isinstance(e.fact, AttemptFinished)]
    # What is redone is at most what the dead runner had in hand.
    assert len(finished) <= FILES + 2
    assert len([e for e in drill.events() if isinstance(e.fact, AttemptLost)]) <= 1


@pytest.mark.parametrize("point", CONTROL_POINTS)
def test_the_control_actor_may_die_in_any_window_of_the_protocols(
    drill: Drill, point: str
) -> None:
    """Protection: journal before commands; publication by generation; sweep only after the end."""
    mark = drill.arm(point)
    control = drill.control()
    run = drill.submit(control)

    view = drill.follow(control, run)

    assert mark.exists(), "the failpoint was never reached"
    drill.check_output(view)
    assert len([e for e in drill.events() if isinstance(e.fact, Led)]) == 2
