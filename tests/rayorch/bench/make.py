"""Results with every field defaulted: a test names only what it is about."""

from collections.abc import Sequence
from typing import Any

from rayorch.bench.results import (
    FailureLine,
    FigureLine,
    Line,
    Machine,
    Measured,
    Results,
    RunLine,
)

ASKED = {"scale": "1", "slots": "2", "quick": "false"}
VERSIONS = {"ray": "2.60.0", "duckdb": "2.0.0", "polars": "2.1.0", "pyarrow": "25.0.0"}


def machine(**fields: Any) -> Machine:
    usual: dict[str, Any] = {
        "python": "3.11.7",
        "system": "Linux",
        "cores": 2,
        "versions": VERSIONS,
        "load_minute": 0.5,
        "busy": 0.25,
        "asked": ASKED,
    }
    return Machine(**usual | fields)


def runs(workload: str, side: str, walls: Sequence[float], **fields: Any) -> list[Line]:
    return [
        RunLine(workload, side, number, Measured(wall_s, 2 * wall_s, **fields), 0.1)
        for number, wall_s in enumerate(walls)
    ]


def figure(workload: str, name: str, *values: float, **fields: Any) -> FigureLine:
    return FigureLine(workload, name, values, **fields)


def failure(workload: str, side: str, why: str = "it broke") -> FailureLine:
    return FailureLine(workload, side, why)


def results(*lines: Line | list[Line], **fields: Any) -> Results:
    flat: list[Line] = [machine(**fields)]
    for line in lines:
        flat += line if isinstance(line, list) else [line]
    return Results(None, flat)
