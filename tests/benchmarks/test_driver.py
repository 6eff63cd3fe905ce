import pytest

from benchmarks.driver import (
    SideFailedError,
    SideOutOfMemoryError,
    SideTooSlowError,
    ended_error,
)


@pytest.mark.parametrize(
    ("code", "tail", "kind"),
    [
        (1, "ValueError: no such column", "failed"),
        (-9, "", "memory"),
        (1, "duckdb.OutOfMemoryException: Out of Memory Error: failed to pin", "memory"),
        (1, "ray.exceptions.OutOfMemoryError: Task was killed", "memory"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "memory"),
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
