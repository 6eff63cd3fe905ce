"""How large the batches of an attempt are."""

from typing import Final

BATCH_BYTES_MAX: Final = 64 << 20
BATCH_BYTES_MIN: Final = 64 << 10
BATCHES_IN_MEMORY: Final = 8
"""Shares of its memory in which an attempt counts: the batch, what steps make of it (each may
copy), what writers hold back, and two batches that are read ahead."""


def batch_bytes_of(memory_bytes: int, shrink: int = 0) -> int:
    """Return the size that batches aim at, halved for each time that memory ran out."""
    return max(BATCH_BYTES_MIN, min(BATCH_BYTES_MAX, memory_bytes // BATCHES_IN_MEMORY) >> shrink)
