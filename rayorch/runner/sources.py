"""Which files the rows of a failing batch came from."""

from itertools import accumulate

import msgspec

from connectors.splits import Split


def split_of_rows(split: Split, first_row: int, rows: int) -> Split:
    """Return the split without the parts that none of these rows came from.

    All of it, where the parts do not tell their rows. Only for a split that is read without a
    filter: with one, the rows of a batch are not those of the files.
    """
    sizes = [part.rows for part in split.parts]
    known = [size for size in sizes if size is not None]
    if rows == 0 or len(known) < len(sizes):
        return split
    ends = accumulate(known)
    parts = tuple(
        part
        for part, size, end in zip(split.parts, known, ends, strict=True)
        if size and end > first_row and end - size < first_row + rows
    )
    return msgspec.structs.replace(split, parts=parts) if parts else split
