"""Inputs of the keyed workloads: a fact table with skewed keys, and what it is joined with.

Amounts are multiples of 1/64, so that sums of them are exact in any order, and sides can be
compared to the last bit.
"""

from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.data import DAY_US, START_US, WORDS, Shape
from rayorch.bench.shapes import hot_keys, zipf_keys

ITEMS: Final = 2_000_000
HOT_SHARE: Final = 0.25
HOT_ITEM: Final = 1_234_567
DEVICES: Final = 10_000
CATEGORIES: Final = 1_000
DAYS: Final = 30
REGIONS: Final = 50
HALF: Final = "half"
"""The name of the skew where one key has half of the rows and the others are uniform."""


def skewed(random: np.random.Generator, rows: int, skew: str) -> NDArray[np.int64]:
    """Return keys: of a Zipf distribution of that power, or half of them one."""
    return hot_keys(random, rows) if skew == HALF else zipf_keys(random, rows, float(skew))


def fact_table(shape: Shape, index: int, skew: str = "1.2") -> pa.Table:
    """Return one file of facts: eight columns, some 45 bytes a row on disk."""
    rows = shape.rows_per_file
    random = np.random.default_rng([shape.seed, index])
    item = random.integers(0, ITEMS, rows, dtype=np.int64)
    item[random.random(rows) < HOT_SHARE] = HOT_ITEM
    words = pa.array([f"note {word:05d}" for word in range(WORDS)])
    numbers = pa.array(random.integers(0, 1 << 40, rows)).cast(pa.string())
    return pa.table(
        {
            "id": np.arange(index * rows, (index + 1) * rows, dtype=np.int64),
            "key": skewed(random, rows, skew),
            "item": item,
            "device": random.integers(0, DEVICES, rows, dtype=np.int32),
            "ts": pa.array(START_US + random.integers(0, DAYS * DAY_US, rows), pa.timestamp("us")),
            "qty": random.integers(0, 100, rows, dtype=np.int32),
            "price": random.integers(64, 64_000, rows) / 64.0,
            "note": pc.binary_join_element_wise(
                words.take(random.integers(0, len(words), rows)), numbers, " of "
            ),
        }
    )


def fact_table_15(shape: Shape, index: int) -> pa.Table:
    """Return one file of facts whose key is more skewed."""
    return fact_table(shape, index, "1.5")


def fact_table_20(shape: Shape, index: int) -> pa.Table:
    """Return one file of facts whose key is skewed more still."""
    return fact_table(shape, index, "2.0")


def fact_table_half(shape: Shape, index: int) -> pa.Table:
    """Return one file of facts of which half have one key."""
    return fact_table(shape, index, HALF)


def items_table(shape: Shape, index: int) -> pa.Table:
    """Return one file of items: all of them, once, in no order."""
    every = np.random.default_rng(shape.seed).permutation(shape.rows)
    item = every[index * shape.rows_per_file : (index + 1) * shape.rows_per_file]
    random = np.random.default_rng([shape.seed, index])
    categories = pa.array([f"category {number:04d}" for number in range(CATEGORIES)])
    # Fewer items than there are in the facts would lose rows: a small shape spans them all.
    step = ITEMS // shape.rows
    return pa.table(
        {
            "item": item.astype(np.int64) * step,
            "category": categories.take(random.integers(0, CATEGORIES, len(item))),
            "cost": random.integers(64, 6_400, len(item)) / 64.0,
        }
    )


def states_table(shape: Shape, index: int) -> pa.Table:
    """Return one file of device states: a device has a hundred of them in the days."""
    rows = shape.rows_per_file
    random = np.random.default_rng([shape.seed, index])
    return pa.table(
        {
            "device": random.integers(0, DEVICES, rows, dtype=np.int32),
            "at": pa.array(START_US + random.integers(0, DAYS * DAY_US, rows), pa.timestamp("us")),
            "level": random.integers(0, 64_000, rows) / 64.0,
        }
    )


def devices_table(shape: Shape, index: int) -> pa.Table:
    """Return one file of devices, each once, and the region that it is in."""
    first, rows = index * shape.rows_per_file, shape.rows_per_file
    device = np.arange(first, first + rows, dtype=np.int32)
    return pa.table({"device": device, "region": device.astype(np.int64) % REGIONS})


FACT: Final = Shape(name="fact", files=64, rows_per_file=156_250, seed=21, table=fact_table)
FACT_LARGE: Final = replace(FACT, name="fact-large", files=128)
FACT_15: Final = replace(FACT, name="fact-1.5", table=fact_table_15)
FACT_20: Final = replace(FACT, name="fact-2.0", table=fact_table_20)
FACT_HALF: Final = replace(FACT, name="fact-half", table=fact_table_half)
ITEM: Final = Shape(name="items", files=16, rows_per_file=125_000, seed=22, table=items_table)
STATE: Final = Shape(name="states", files=8, rows_per_file=125_000, seed=23, table=states_table)

DEVICE: Final = Shape(name="devices", files=1, rows_per_file=DEVICES, seed=24, table=devices_table)
