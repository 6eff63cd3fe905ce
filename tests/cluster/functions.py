"""What the drills run inside runners. Shipped by value: runners do not import the tests."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc


def doubled(table: pa.Table) -> pa.Table:
    """The work itself."""
    return table.append_column("double", pc.multiply(table["id"], 2))


def raises_on_file_7(table: pa.Table) -> pa.Table:
    """Fail on one of the inputs, every time."""
    if table["file"][0].as_py() == 7:
        raise ValueError("row group 7 is bad")
    return doubled(table)


def kills_on_file_3(table: pa.Table) -> pa.Table:
    """Take the runner down on one of the inputs, every time."""
    if table["file"][0].as_py() == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return doubled(table)


def waits_for(gate: Path, passes: int = 0) -> Callable[[pa.Table], pa.Table]:
    """Return the work, which waits for a file to appear, but on the first inputs."""

    def waiting(table: pa.Table) -> pa.Table:
        while table["file"][0].as_py() >= passes and not gate.exists():
            time.sleep(0.01)  # noqa: TID251 - users' code, which takes no Clock.
        return doubled(table)

    return waiting
