"""Pieces of a split are all of it, in its order, and never less than is worth a task."""

import pytest

from connectors.splits import FilePart, Split
from rayorch.runner.pieces import (
    PIECE_BYTES_MIN,
    PIECE_NUMBERS_MIN,
    PIECES_MAX,
    REST_MAX,
    grouped,
    joined,
    parted_at,
    pieces_of,
)


def files(count: int, each_bytes: int, groups: int = 0) -> Split:
    parts = tuple(
        FilePart(
            key=f"f{i}",
            size_bytes=each_bytes,
            rows=10,
            row_groups=tuple(range(groups)) if groups else None,
        )
        for i in range(count)
    )
    return Split(parts=parts, rows=10 * count, size_bytes=count * each_bytes)


@pytest.mark.parametrize("count", [2, 7, 16, 50])
def test_large_files_are_pieces_and_together_the_split(count: int) -> None:
    split = files(count, 4 * PIECE_BYTES_MIN)
    pieces = pieces_of(split)
    assert 1 < len(pieces) <= PIECES_MAX
    assert joined(pieces).parts == split.parts
    assert joined(pieces).rows == split.rows


def test_row_groups_of_one_file_are_pieces() -> None:
    split = files(1, 64 * PIECE_BYTES_MIN, groups=5)
    pieces = pieces_of(split)
    groups = [part.row_groups for piece in pieces for part in piece.parts]
    assert groups == [(0,), (1,), (2,), (3,), (4,)]


@pytest.mark.parametrize(
    "split", [files(50, 1000), files(1, 1 << 30), Split(lo=3, hi=4_000), Split()]
)
def test_what_is_small_or_in_one_piece_is_not_cut(split: Split) -> None:
    assert pieces_of(split) == (split,)


@pytest.mark.parametrize("rows", [8_192, 20_001, 1_000_003])
def test_numbers_are_cut_into_neighbouring_ranges(rows: int) -> None:
    split = Split(lo=7, hi=7 + rows, rows=rows, size_bytes=8 * rows)
    pieces = pieces_of(split)
    assert len(pieces) == min(PIECES_MAX, rows // PIECE_NUMBERS_MIN)
    assert [n for piece in pieces for n in (piece.lo, piece.hi)][1:-1:2] == [
        n for piece in pieces for n in (piece.lo, piece.hi)
    ][2::2]
    assert (joined(pieces).lo, joined(pieces).hi, joined(pieces).rows) == (7, 7 + rows, rows)


@pytest.mark.parametrize("count", [1, 3, 4, 15])
def test_what_a_cut_leaves_is_a_few_splits_of_neighbours(count: int) -> None:
    pieces = tuple(Split(lo=at, hi=at + 1, rows=1, size_bytes=8) for at in range(count))
    groups = grouped(pieces)
    assert len(groups) == min(REST_MAX, count)
    assert joined(groups) == joined(pieces)
    sizes = [group.hi - group.lo for group in groups]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("first", [0, 100])
def test_one_row_group_is_parted_behind_the_rows_that_are_done(first: int) -> None:
    """The size of a piece is what is read for it: all up to its last row."""
    part = FilePart(key="f", size_bytes=4_000, rows=300, row_groups=(2,), first=first)
    split = Split(parts=(part,), rows=300, size_bytes=10 * (first + 300))

    found = parted_at(split, 50)

    assert found is not None
    done, rest = found
    ranges = [(each.parts[0].first, each.parts[0].last, each.rows) for each in (done, *rest)]
    assert ranges == [
        (first, first + 50, 50),
        (first + 50, first + 175, 125),
        (first + 175, 0, 125),
    ]
    assert [each.size_bytes for each in rest] == [10 * (first + 175), 10 * (first + 300)]
    assert {each.parts[0].row_groups for each in (done, *rest)} == {(2,)}


def test_what_is_left_of_a_file_that_says_no_rows_is_one_task() -> None:
    split = Split(parts=(FilePart(key="f", size_bytes=4_000, start=10, end=500),), size_bytes=490)

    found = parted_at(split, 50)

    assert found is not None
    done, rest = found
    assert [(each.parts[0].first, each.parts[0].last) for each in (done, *rest)] == [
        (0, 50),
        (50, 0),
    ]
    again = parted_at(rest[0], 7)
    assert again is not None
    assert [each.parts[0].first for each in (again[0], *again[1])] == [50, 57]


@pytest.mark.parametrize(
    ("split", "rows"),
    [(files(1, 1000), 10), (files(2, 1000), 5), (files(1, 1000, groups=2), 5), (Split(hi=9), 5)],
)
def test_what_has_nothing_left_or_more_than_one_piece_is_not_parted_by_rows(
    split: Split, rows: int
) -> None:
    assert parted_at(split, rows) is None
