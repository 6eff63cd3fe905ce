"""The file that a failing row came from, as exactly as the rows of the parts tell it."""

import pytest

from connectors.splits import FilePart, Split
from rayorch.runner.sources import split_of_rows


def split(*rows: int | None) -> Split:
    parts = (FilePart(key=f"f{index}", size_bytes=1, rows=n) for index, n in enumerate(rows))
    return Split(parts=tuple(parts))


@pytest.mark.parametrize(
    ("first_row", "rows", "files"),
    [
        (0, 10, ["f0"]),
        (9, 1, ["f0"]),
        (10, 5, ["f2"]),
        (9, 2, ["f0", "f2"]),
        (0, 60, ["f0", "f2", "f3"]),
        (30, 30, ["f3"]),
    ],
)
def test_only_the_files_behind_the_rows_are_named(
    first_row: int, rows: int, files: list[str]
) -> None:
    """File f1 has no row."""
    found = split_of_rows(split(10, 0, 20, 30), first_row, rows)

    assert [part.key for part in found.parts] == files


@pytest.mark.parametrize("whole", [split(10, None, 20), Split(lo=0, hi=10)])
def test_what_is_not_known_is_not_guessed(whole: Split) -> None:
    assert split_of_rows(whole, 0, 5) is whole


def test_without_a_batch_the_whole_split_is_named() -> None:
    assert split_of_rows(split(1, 2), 0, 0) == split(1, 2)
