"""Tables of text that say no more than is known."""

from collections.abc import Sequence


def with_values(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return a table without the columns in which no row says anything."""
    kept = [at for at in range(len(columns)) if not rows or any(row[at] for row in rows)]
    return tuple(columns[at] for at in kept), [tuple(row[at] for at in kept) for row in rows]
