"""Inputs: made once from a seed, kept in a cache folder outside the checkout.

The same shape and seed give the same tables on every machine, so figures of two machines are
about the same bytes.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayorch.bench.generating import TPCH, Wanted, generate
from rayorch.bench.shapes import SHAPES, table_of

WORDS: Final = 20_000
COUNTRIES: Final = ("at", "be", "br", "ca", "ch", "cn", "de", "es", "fr", "gb", "in", "it", "jp")
START_US: Final = 1_767_225_600_000_000  # 2026-01-01
DAY_US: Final = 86_400_000_000
QTY_MAX: Final = 100
"""`qty` is uniform below it: `qty < 30` keeps 30 %."""
MARK: Final = "_made"
ROWS_MIN: Final = 2_500
"""Of a file, where a shape is scaled down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A folder of Parquet files to be made."""

    name: str
    files: int
    rows_per_file: int
    seed: int
    table: Callable[["Shape", int], pa.Table]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return self.files * self.rows_per_file

    @property
    def key(self) -> str:
        """What tells this folder from one of another shape."""
        return f"{self.name}-{self.files}x{self.rows_per_file}-{self.seed}"


def events_table(shape: Shape, index: int) -> pa.Table:
    """Return one file of events: eight columns, some 45 bytes a row on disk."""
    rows = shape.rows_per_file
    random = np.random.default_rng([shape.seed, index])
    words = pa.array([f"note {word:05d}" for word in range(WORDS)])
    numbers = pa.array(random.integers(0, 1 << 40, rows)).cast(pa.string())
    countries = pa.array(COUNTRIES)
    return pa.table(
        {
            "id": np.arange(index * rows, (index + 1) * rows, dtype=np.int64),
            "account": random.integers(0, 1_000_000, rows, dtype=np.int64),
            "ts": pa.array(START_US + random.integers(0, 30 * DAY_US, rows), pa.timestamp("us")),
            "qty": random.integers(0, QTY_MAX, rows, dtype=np.int32),
            "price": random.integers(100, 100_000, rows) / 100.0,
            "discount": random.integers(0, 11, rows) / 100.0,
            "country": countries.take(random.integers(0, len(countries), rows)),
            # Nearly all differ, as what people write does: no dictionary makes them small.
            "note": pc.binary_join_element_wise(
                words.take(random.integers(0, len(words), rows)), numbers, " of "
            ),
        }
    )


def points_table(shape: Shape, index: int) -> pa.Table:
    """Return one tiny file: three columns, a few KB."""
    rows = shape.rows_per_file
    random = np.random.default_rng([shape.seed, index])
    return pa.table(
        {
            "id": np.arange(index * rows, (index + 1) * rows, dtype=np.int64),
            "sensor": random.integers(0, 1_000, rows, dtype=np.int32),
            "value": random.integers(0, 1_000_000, rows) / 64.0,
        }
    )


def awkward_table(shape: Shape, index: int) -> pa.Table:
    """Return one file of a shape that `rayorch bench data` makes, too."""
    rows = shape.rows_per_file
    own = range(index * rows, (index + 1) * rows)
    return table_of(SHAPES[shape.name], shape.seed, index, own)


SCAN: Final = Shape(name="events", files=64, rows_per_file=156_250, seed=7, table=events_table)
TINY: Final = Shape(name="points", files=5_000, rows_per_file=100, seed=3, table=points_table)
WIDE: Final = Shape(name="wide", files=32, rows_per_file=6_250, seed=31, table=awkward_table)
STRINGS: Final = Shape(name="strings", files=32, rows_per_file=31_250, seed=32, table=awkward_table)
NESTED: Final = Shape(name="nested", files=32, rows_per_file=62_500, seed=33, table=awkward_table)
WARM: Final = Shape(name="warm", files=4, rows_per_file=1_000, seed=8, table=events_table)
WARM_TINY: Final = Shape(name="warm-tiny", files=4, rows_per_file=100, seed=5, table=points_table)


def scaled(shape: Shape, scale: float) -> Shape:
    """Return a shape with so many times the rows: in as many files if there are enough of them.

    Of the same name, so that a folder is told from another by its files and rows alone.
    """
    rows = max(1, round(shape.rows * scale))
    files = max(1, min(round(shape.files * max(1.0, scale)), rows // ROWS_MIN))
    return replace(shape, files=files, rows_per_file=rows // files)


def cache_folder() -> Path:
    """Return where inputs are kept between runs: `$XDG_CACHE_HOME`, else the temporary folder."""
    base = os.environ.get("XDG_CACHE_HOME") or tempfile.gettempdir()
    return Path(base) / f"rayorch-bench-{os.getuid()}"


def made(shape: Shape, cache: Path) -> Path:
    """Return the folder with a shape's files, making them if they are not there.

    A folder counts only with its mark: one that was interrupted is made again.
    """
    folder = cache / shape.key
    if (folder / MARK).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for index in range(shape.files):
        pq.write_table(shape.table(shape, index), folder / f"part-{index:05d}.parquet")
    (folder / MARK).touch()
    return folder


def tpch_folder(cache: Path, scale: float) -> Path:
    """Return the folder with lineitem and orders of TPC-H, making them if they are not there."""
    # Named for what is in it: an earlier one had texts that not all sides can read.
    folder = cache / f"tpch-{scale:g}-plain"
    mark = cache / f"tpch-{scale:g}-plain{MARK}"
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        tables = ("lineitem", "orders")
        wanted = Wanted(kind=TPCH, to=str(folder), files=16, scale_factor=scale, tables=tables)
        generate(wanted, lambda _: None)
        mark.touch()
    return folder
