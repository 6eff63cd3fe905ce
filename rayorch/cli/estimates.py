"""How a run's estimates turned out, for `show` and `explain`."""

from collections.abc import Iterator
from typing import Any

from rayorch.home import Home
from rayorch.ids import RunId
from rayorch.observe.figures import counted, seconds_text
from rayorch.plan.estimate import Calibration
from rayorch.plan.history import get_calibrations


def calibration_lines(home: Home, run: RunId) -> Iterator[tuple[str, str]]:
    """Yield, for each stage of a run, what was predicted and what it took."""
    for each in get_calibrations(home, run).stages:
        if each.tasks:
            yield each.stage, _text(each)


def calibration_documents(home: Home, run: RunId) -> list[dict[str, Any]]:
    """Return the same for programs."""
    return [
        {
            "stage": each.stage,
            "version": each.version,
            "measured_before": each.measured_before,
            "tasks": each.tasks,
            "predicted_s": each.predicted_s,
            "actual_s": each.actual_s,
            "factor": each.factor,
            "error": each.error,
        }
        for each in get_calibrations(home, run).stages
    ]


def _text(each: Calibration) -> str:
    known = (
        f"from {counted(each.measured_before, 'attempt')} before"
        if each.measured_before
        else "before the first measurement"
    )
    return (
        f"{counted(each.tasks, 'task')}: predicted {seconds_text(each.predicted_s)} {known}, "
        f"took {seconds_text(each.actual_s)} (x {each.factor:.2f}; "
        f"one task is typically off by x {each.error:.2f})"
    )
