"""Where a split may be cut while it is read: between files, row groups, or numbers.

Of an exchange, its reader says where (`exchange.pieces`). The last piece, if it is of one row
group, or of a file without any, is cut behind the rows that were computed with: those that are
left are read by others, who decode what is before them in vain.
"""

from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from connectors.splits import FilePart, Split

PIECES_MAX: Final = 16
REST_MAX: Final = 4
"""What a cut leaves becomes at most so many tasks: each has files of its own."""
ROWS_REST_MAX: Final = 2
"""Tasks that what is left of one row group becomes: each decodes it up to its own rows."""
PIECE_BYTES_MIN: Final = 1 << 20
"""Smaller pieces are read together: batches that are put together of small files stay so."""
PIECE_NUMBERS_MIN: Final = 4_096


def pieces_of(split: Split) -> tuple[Split, ...]:
    """Return the pieces of a split in its order; itself, when it cannot be cut."""
    if split.parts:
        return _pieces_of_files(split)
    count = min(PIECES_MAX, (split.hi - split.lo) // PIECE_NUMBERS_MIN)
    if count <= 1:
        return (split,)
    ends = [split.lo + (split.hi - split.lo) * i // count for i in range(count + 1)]
    rows = [high - low for low, high in pairwise(ends)]
    share = split.size_bytes // count
    return tuple(
        replace(split, lo=low, hi=low + n, rows=n, size_bytes=share)
        for low, n in zip(ends, rows, strict=False)
    )


def joined(pieces: tuple[Split, ...]) -> Split:
    """Return neighbouring pieces as one split."""
    if pieces[0].taken:
        # Arrays take a moment to import: only who exchanges pays.
        from rayorch.exchange import dump_split, joined_pieces, load_split  # noqa: PLC0415

        taken = joined_pieces([load_split(piece.taken) for piece in pieces])
        return replace(pieces[0], taken=dump_split(taken))
    rows = [piece.rows for piece in pieces]
    known = [each for each in rows if each is not None]
    return Split(
        parts=tuple(part for piece in pieces for part in piece.parts),
        rows=sum(known) if len(known) == len(rows) else None,
        size_bytes=sum(piece.size_bytes for piece in pieces),
        lo=pieces[0].lo,
        hi=pieces[-1].hi,
    )


def grouped(pieces: tuple[Split, ...]) -> tuple[Split, ...]:
    """Return neighbouring pieces in a few splits of about as many each."""
    count = min(REST_MAX, len(pieces))
    ends = [len(pieces) * number // count for number in range(count + 1)]
    return tuple(joined(pieces[low:high]) for low, high in pairwise(ends))


def parted_at(split: Split, rows: int) -> tuple[Split, tuple[Split, ...]] | None:
    """Return what was read of a split, so many rows, and the rest of it; None: it stays whole."""
    if len(split.parts) != 1 or rows <= 0 or len(_row_groups(split.parts[0])) > 1:
        return None
    (part,) = split.parts
    at = part.first + rows
    if part.rows is None:
        left = replace(part, first=at)
        return replace(split, parts=(_first_rows(part, rows),), rows=rows), (
            replace(split, parts=(left,), rows=None),
        )
    count = min(ROWS_REST_MAX, part.rows - rows)
    if count < 1:
        return None
    ends = [at + (part.rows - rows) * number // count for number in range(count + 1)]
    # Of what is stored, all up to its last row is read for it.
    row_bytes = split.size_bytes / (part.first + part.rows)
    done, *rest = (
        Split(
            parts=(replace(part, first=low, last=high, rows=high - low),),
            rows=high - low,
            size_bytes=int(row_bytes * high),
        )
        for low, high in pairwise([part.first, *ends])
    )
    # Whatever a footer says: nothing behind the last of them is left out.
    last = replace(rest[-1].parts[0], last=part.last)
    return done, (*rest[:-1], replace(rest[-1], parts=(last,)))


def _first_rows(part: FilePart, rows: int) -> FilePart:
    return replace(part, last=part.first + rows, rows=rows)


def _pieces_of_files(split: Split) -> tuple[Split, ...]:
    parts = [piece for part in split.parts for piece in _row_groups(part)]
    # Of a file's row groups only the file's size is known: they share the split's evenly.
    each_bytes = split.size_bytes / max(1, len(parts))
    target = max(PIECE_BYTES_MIN, split.size_bytes / PIECES_MAX)
    groups: list[list[FilePart]] = [[]]
    for part in parts:
        if groups[-1] and len(groups[-1]) * each_bytes >= target:
            groups.append([])
        groups[-1].append(part)
    if len(groups) == 1:
        return (split,)
    return tuple(_of_parts(group, each_bytes) for group in groups)


def _row_groups(part: FilePart) -> list[FilePart]:
    groups = tuple(range(part.groups)) if part.row_groups is None else part.row_groups
    if len(groups) <= 1:
        return [part]
    return [replace(part, row_groups=(group,), groups=0, rows=None) for group in groups]


def _of_parts(parts: list[FilePart], each_bytes: float) -> Split:
    known = [part.rows for part in parts if part.rows is not None]
    return Split(
        parts=tuple(parts),
        rows=sum(known) if len(known) == len(parts) else None,
        size_bytes=int(each_bytes * len(parts)),
    )
