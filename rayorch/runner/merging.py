"""Rows of a map task merged before their exchange: those of all keys, or those of heavy keys alone.

    all keys, while that pays ──► given up ──► heavy keys are merged, the others' rows leave at once

Where most keys occur once, merging costs more than it saves; but a key that one row in fifty has
would then be too much for the one task that gets all of it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rayorch.exchange.hashing import Words, key_hashes
from rayorch.exchange.kept import BUCKETS
from rayorch.exchange.layout import HEAVY_MAX, heavy_hashes, heavy_rows, rows_of_hashes
from rayorch.operators import Partial, open_partial
from rayorch.relational import HashKeys, OperatorCode


class Merging:
    """What an attempt merges of one operator's rows."""

    def __init__(
        self, code: OperatorCode, keys: HashKeys, rows: pa.Schema, memory_bytes: int, every: Partial
    ) -> None:
        """Take what merges the rows of all keys."""
        self._code = code
        self._keys = keys
        self._rows = rows
        self._memory_bytes = memory_bytes
        self._every = every
        self._heavy: Partial | None = None
        # Once heavy, always heavy: rows of one key leave in the order in which they came.
        self._known: Words = np.empty(0, dtype=np.uint64)

    @property
    def schema(self) -> pa.Schema:
        """The columns of what leaves."""
        return self._every.schema

    @property
    def rows_in(self) -> int:
        """How many rows came."""
        return self._every.counts.rows_in + self.heavy_rows[0]

    @property
    def heavy_rows(self) -> tuple[int, int]:
        """How many rows of heavy keys were merged apart, and what they came to."""
        if self._heavy is None:
            return 0, 0
        return self._heavy.counts.rows_in, self._heavy.counts.rows_out

    @property
    def pays(self) -> bool:
        """Whether rows of all keys are merged."""
        return self._every.pays

    def add(self, table: pa.Table) -> list[pa.Table]:
        """Take rows; return what must leave now."""
        mask = None if self._every.pays or self._keys.columns == () else self._heavy_mask(table)
        if mask is None or not mask.any():
            return self._every.add(table)
        if self._heavy is None:
            self._heavy = open_partial(self._code, self._rows, self._memory_bytes)
        assert self._heavy is not None
        apart = pa.array(mask)
        leaving = self._heavy.add(table.filter(apart))
        return leaving + self._every.add(table.filter(pc.invert(apart)))

    def finish(self) -> list[pa.Table]:
        """Return all that has not left yet."""
        leaving = self._every.finish()
        return leaving if self._heavy is None else leaving + self._heavy.finish()

    def _heavy_mask(self, table: pa.Table) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        """Return which rows are of heavy keys; learn those that the table has more of."""
        if self._heavy is not None and not self._heavy.pays:
            return None  # Their states are no fewer than their rows.
        hashes = key_hashes(table, self._keys.columns)
        room = HEAVY_MAX - len(self._known)
        if room > 0:
            found = heavy_hashes(hashes, heavy_rows(table.num_rows, BUCKETS))
            found.sort(key=lambda each: -each[1])
            fresh = [key for key, _, _ in found if key not in self._known][:room]
            self._known = np.append(self._known, np.array(fresh, dtype=np.uint64))
        return rows_of_hashes(hashes, self._known) if len(self._known) else None
