import os
import signal
from pathlib import Path

import pytest

from benchmarks.data import WARM, made
from benchmarks.driver import (
    Driver,
    SideFailedError,
    SideOutOfMemoryError,
    SideTooSlowError,
    ended_error,
)
from benchmarks.jobs import Job


@pytest.mark.parametrize(
    ("code", "tail", "kind"),
    [
        (1, "ValueError: no such column", "failed"),
        (-9, "", "memory"),
        (1, "duckdb.OutOfMemoryException: Out of Memory Error: failed to pin", "memory"),
        (1, "ray.exceptions.OutOfMemoryError: Task was killed", "memory"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
        (1, "distributed.scheduler.KilledWorker: Attempted to run task ('x', 0) on 4", "memory"),
        (1, "Memory cgroup: oom-kill: constraint=CONSTRAINT_MEMCG", "memory"),
        (1, "OSError: cannot read the bloom filter of a row group", "failed"),
        (1, "ValueError: no room for the zoom", "failed"),
    ],
)
def test_a_side_that_ends_tells_a_fault_from_memory_that_ran_out(
    code: int, tail: str, kind: str
) -> None:
    error = ended_error(code, tail)

    assert error.kind == kind
    assert isinstance(error, SideOutOfMemoryError) == (kind == "memory")
    assert tail in str(error)


def test_a_side_that_takes_too_long_is_told_from_one_that_broke() -> None:
    assert SideTooSlowError(240.0).kind == "slow"
    assert SideFailedError("x").kind == "failed"


def test_a_side_that_dies_between_ready_and_go_is_a_failed_side(tmp_path: Path) -> None:
    """Nobody reads what is said to it then, and the system says so of the pipe."""
    warm = str(made(WARM, tmp_path))
    job = Job("scan", warm_source=warm, warm_target=str(tmp_path / "out"))

    with Driver("duckdb_one", job, tmp_path / "log", {}) as driver:
        os.kill(driver.pid, signal.SIGKILL)
        os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)

        with pytest.raises(SideOutOfMemoryError, match="killed, as the system does"):
            driver.timed((), 5.0)


def test_a_side_that_cannot_begin_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(SideFailedError, match="KeyError: 'no such job'"),
        Driver("duckdb_one", Job("no such job"), tmp_path / "log", {}),
    ):
        pass
