"""Tables of awkward shapes, made from a seed: the same seed makes the same rows on every machine.

What is awkward is one thing for each: how often keys repeat, how much work is in a row, how small
files are, how wide, long or deep rows are. Amounts are multiples of 1/64, so that sums are exact in
any order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

KEYS: Final = 1_000_000
ZIPF_POWER: Final = 1.2
PARETO_SHAPE: Final = 1.3
HOT_SHARE: Final = 0.5
HOT_KEY: Final = 7
WIDE_COLUMNS: Final = 200
TEXT_WORDS: Final = 40
"""Of a text, at most; a few hundred characters."""
VOCABULARY: Final = 20_000
ITEMS_MAX: Final = 8

Rows = Callable[[np.random.Generator, int], dict[str, pa.Array | NDArray[np.generic]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """One kind of table. `rows` and `files` are the usual ones."""

    name: str
    says: str
    columns: Rows
    rows: int
    files: int


@cache
def _shares(power: float, keys: int) -> NDArray[np.float64]:
    """Return the cumulated shares of the keys, hottest first."""
    shares = 1.0 / np.arange(1, keys + 1) ** power
    total: NDArray[np.float64] = np.cumsum(shares / shares.sum())
    return total


@cache
def _names(keys: int) -> NDArray[np.int64]:
    """Return the keys by rank: which one is hot says nothing of where it sorts or hashes."""
    return np.random.default_rng(12).permutation(keys).astype(np.int64)


def zipf_keys(
    random: np.random.Generator, rows: int, power: float = ZIPF_POWER, keys: int = KEYS
) -> NDArray[np.int64]:
    """Return keys of which the n-th most frequent comes 1 / n ** power as often as the first."""
    ranks = np.searchsorted(_shares(power, keys), random.random(rows))
    return _names(keys)[np.minimum(ranks, keys - 1)]


def hot_keys(
    random: np.random.Generator, rows: int, share: float = HOT_SHARE, keys: int = KEYS
) -> NDArray[np.int64]:
    """Return keys of which one has a share of all rows, and the others are uniform."""
    found = random.integers(0, keys, rows, dtype=np.int64)
    found[random.random(rows) < share] = HOT_KEY
    return found


def amounts(random: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Return amounts whose sums are exact."""
    exact: NDArray[np.float64] = random.integers(64, 64_000, rows) / 64.0
    return exact


def _zipf(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    return {"key": zipf_keys(random, rows), "value": amounts(random, rows)}


def _hot(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    return {"key": hot_keys(random, rows), "value": amounts(random, rows)}


def _pareto(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    # Work of a row, in turns of whatever loop; cut off, or one row would be the whole of it.
    work = np.minimum(random.pareto(PARETO_SHAPE, rows) + 1.0, 1e4)
    return {"work": np.rint(100.0 * work).astype(np.int64), "value": amounts(random, rows)}


def _small(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    sensor = random.integers(0, 1_000, rows, dtype=np.int32)
    return {"sensor": sensor, "value": amounts(random, rows)}


def _wide(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    return {f"c{number:03d}": amounts(random, rows) for number in range(WIDE_COLUMNS)}


def _strings(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    lengths = random.integers(1, TEXT_WORDS + 1, rows)
    words = pa.array([f"word{number:05d}" for number in range(VOCABULARY)])
    drawn = words.take(pa.array(random.integers(0, VOCABULARY, int(lengths.sum()))))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), drawn), " ")
    hosts = pa.array([f"host-{number:04d}.example" for number in range(1_000)])
    return {"host": hosts.take(pa.array(random.integers(0, len(hosts), rows))), "text": texts}


def _nested(random: np.random.Generator, rows: int) -> dict[str, pa.Array | NDArray[np.generic]]:
    counts = random.integers(0, ITEMS_MAX + 1, rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    total = int(counts.sum())
    items = pa.StructArray.from_arrays(
        [
            pa.array(random.integers(0, 10_000, total, dtype=np.int64)),
            pa.array(amounts(random, total)),
        ],
        ["item", "price"],
    )
    where = pa.StructArray.from_arrays(
        [pa.array(random.random(rows)), pa.array(random.random(rows))], ["lat", "lon"]
    )
    return {"items": pa.ListArray.from_arrays(offsets, items), "where": where}


SHAPES: Final = {
    shape.name: shape
    for shape in (
        Shape(name="zipf", says="keys of Zipf 1.2", columns=_zipf, rows=10_000_000, files=64),
        Shape(name="hot", says="one key with half of the rows", columns=_hot, rows=10**7, files=64),
        Shape(name="pareto", says="work of a row is Pareto", columns=_pareto, rows=10**6, files=64),
        Shape(name="small", says="files of a few KB", columns=_small, rows=500_000, files=5_000),
        Shape(name="wide", says="200 columns", columns=_wide, rows=500_000, files=32),
        Shape(name="strings", says="texts to 40 words", columns=_strings, rows=10**6, files=32),
        Shape(name="nested", says="lists of structs", columns=_nested, rows=2_000_000, files=32),
    )
}


def table_of(shape: Shape, seed: int, file: int, rows: range) -> pa.Table:
    """Return one file of a shape, with the rows of these ids."""
    random = np.random.default_rng([seed, file])
    ids = np.arange(rows.start, rows.stop, dtype=np.int64)
    return pa.table({"id": ids, **shape.columns(random, len(rows))})
