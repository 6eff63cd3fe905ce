"""Views of runs, every field filled in."""

from typing import Any

from rayorch.core.facts import SinkPublished
from rayorch.core.run import Totals
from rayorch.ids import RunId
from rayorch.observe.view import RunView

RUN = RunId("nightly-1")


def totals(**fields: Any) -> Totals:
    plain = {
        "rows_in": 6_001_215,
        "rows_out": 5_916_591,
        "bytes_in": 205 << 20,
        "bytes_out": 30 << 20,
        "read_s": 3.1,
        "compute_s": 10.2,
        "write_s": 5.0,
        "wait_s": 0.4,
        "cpu_s": 14.0,
        "memory_bytes_max": 310 << 20,
    }
    return Totals(**{**plain, **fields})


def published(**fields: Any) -> SinkPublished:
    plain = {"rows": 4, "files": 1, "size_bytes": 2048, "version": "3"}
    how = 'rayorch.read("s3://lake/out").to_table()'
    return SinkPublished(run=RUN, sink=0, how_to_read=how, **{**plain, **fields})


def view(**fields: Any) -> RunView:
    """A run that was submitted at second 1000."""
    plain = {
        "run": RUN,
        "pipeline": "nightly",
        "version": "v1",
        "owner": "data-platform",
        "state": "running",
        "at_s": 1000.0,
        "submitted_s": 1000.0,
        "first_start_s": 0.0,
        "finished_s": 0.0,
        "tasks": 0,
        "committed": 0,
        "failed": 0,
        "held": 0,
        "files": 16,
        "size_bytes": 205 << 20,
        "totals": totals(),
        "sinks": ("s3://lake/out",),
    }
    return RunView(**{**plain, **fields})
