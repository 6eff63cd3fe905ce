"""`range://N?splits=K`: an int64 column `id` of the numbers 0 to N-1, for tests and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa

from connectors.errors import BadUrlError
from connectors.formats.numbered import numbered_discovery
from connectors.splitting import SPLITS_PER_SLOT

if TYPE_CHECKING:
    from connectors.formats.numbered import Rows
    from connectors.splits import Discovery, SourceSpec, Split

SCHEME: Final = "range://"
ROW_BYTES: Final = 8
_SCHEMA: Final = pa.schema([pa.field("id", pa.int64(), nullable=False)])


class RangeSource:
    """Numbers."""

    def discover(self, spec: SourceSpec, slots: int) -> tuple[Discovery, list[Split]]:
        """Cut the range into K splits, or into several for each slot. Raises: BadUrlError."""
        rows, splits = _parsed(spec.urls[0])
        wanted = splits or slots * SPLITS_PER_SLOT
        return numbered_discovery("range", _SCHEMA, rows, rows * ROW_BYTES, wanted)

    def rows(self, spec: SourceSpec) -> Rows:
        """Return what makes the numbers."""
        del spec
        return _numbers


def _numbers(lo: int, hi: int) -> pa.Table:
    return pa.Table.from_arrays([pa.array(np.arange(lo, hi, dtype=np.int64))], schema=_SCHEMA)


def _parsed(url: str) -> tuple[int, int]:
    """Return the number of rows and of splits (0: not told)."""
    rows, _, query = url.removeprefix(SCHEME).partition("?")
    asked = parse_qs(query, keep_blank_values=True)
    splits = asked.pop("splits", ["0"])[-1]
    if asked or not rows.isdecimal() or not splits.isdecimal():
        raise BadUrlError(url, "a range is range://ROWS or range://ROWS?splits=SPLITS")
    return int(rows), int(splits)
