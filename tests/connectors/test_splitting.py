from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connectors.splitting import (
    MIB,
    OPEN_COST_BYTES,
    TARGET_BYTES_MAX,
    TARGET_BYTES_MIN,
    Chunk,
    Unit,
    one_split_per_file,
    packed,
    target_bytes,
)

SIZES = st.lists(st.lists(st.integers(1, 40 * MIB), max_size=6), max_size=30)
TARGETS = st.integers(TARGET_BYTES_MIN, TARGET_BYTES_MAX)


def files_of(sizes: list[list[int]]) -> list[list[Unit]]:
    return [[Unit(size, 1, part) for part, size in enumerate(file)] for file in sizes]


def cost_bytes(split: tuple[Chunk, ...]) -> int:
    return sum(OPEN_COST_BYTES + sum(u.size_bytes for u in chunk.units) for chunk in split)


@given(SIZES, TARGETS)
def test_every_row_group_is_read_exactly_once_and_in_order(
    sizes: list[list[int]], target: int
) -> None:
    files = files_of(sizes)

    splits = packed(files, target)

    seen = [(c.file, u.part) for split in splits for c in split for u in c.units]
    assert seen == [(f, u.part) for f, units in enumerate(files) for u in units]


@given(SIZES, TARGETS)
def test_a_split_passes_the_target_only_when_it_is_a_single_row_group(
    sizes: list[list[int]], target: int
) -> None:
    for split in packed(files_of(sizes), target):
        units = [unit for chunk in split for unit in chunk.units]
        assert cost_bytes(split) <= target or len(units) == 1


@given(SIZES, TARGETS)
def test_neighbouring_splits_together_pass_the_target(sizes: list[list[int]], target: int) -> None:
    """Else they could have been one: no split is needlessly small."""
    splits = packed(files_of(sizes), target)

    for left, right in pairwise(splits):
        first = right[0].units[0].size_bytes
        joins = left[-1].file == right[0].file
        assert cost_bytes(left) + first + (0 if joins else OPEN_COST_BYTES) > target


@given(SIZES, TARGETS)
def test_a_file_read_whole_says_so(sizes: list[list[int]], target: int) -> None:
    files = files_of(sizes)

    for split in packed(files, target):
        for chunk in split:
            assert chunk.whole == (len(chunk.units) == len(files[chunk.file]))


def test_five_thousand_tiny_files_are_some_dozens_of_splits() -> None:
    files = files_of([[4_000]] * 5_000)

    splits = packed(files, target_bytes(5_000 * 4_000, 5_000, slots=2))

    assert 16 <= len(splits) <= 64


def test_a_large_file_is_cut_into_several_splits_for_each_slot() -> None:
    files = files_of([[8 * MIB] * 64])

    splits = packed(files, target_bytes(512 * MIB, 1, slots=4))

    assert len(splits) >= 4 * 4


def test_one_split_per_file_leaves_out_files_without_rows() -> None:
    splits = one_split_per_file(files_of([[1, 2], [], [3]]))

    assert [[chunk.file for chunk in split] for split in splits] == [[0], [2]]
