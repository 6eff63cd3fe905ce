"""What every side has to do, said once: as functions of an Arrow table, and as SQL for the check.

A side that takes Arrow functions is given these; one with expressions of its own says the same in
them. Both are held against the SQL, which DuckDB runs over the inputs.
"""

from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

QTY_BELOW: Final = 30
"""The scan keeps `qty < 30`: three rows in ten."""

SCAN_SQL: Final = f"""
    select id, account, country, price, price * qty as total,
           price * qty * (1.0 - discount) as net, hour(ts) as hour, upper(note) as label
    from input where qty < {QTY_BELOW}
"""  # noqa: S608 - our own constants
TINY_SQL: Final = "select id, sensor, value, value * 2.0 as twice from input"

TASKS: Final = 400
SPIN_MEDIAN: Final = 400_000
"""Turns of the loop in a task of median cost: some 25 ms."""
SLOWEST_TO_MEDIAN: Final = 30.0
PARETO_SEED: Final = 6


class Job(msgspec.Struct, frozen=True):
    """One piece of work for a side."""

    kind: str  # "scan", "tiny", "pareto", ... or one of `benchmarks.keyed.jobs`
    source: str = ""  # a folder of Parquet files
    target: str = ""  # a folder that does not exist yet
    warm_source: str = ""
    warm_target: str = ""
    format: str = "parquet"
    tasks: int = 0
    slots: int = 2
    rows: int = 0
    other: str = ""  # the folder that it is joined with
    warm_other: str = ""
    is_small: bool = False

    def small(self) -> "Job":
        """Return something small of the same kind, which warms a side up."""
        return msgspec.structs.replace(
            self,
            source=self.warm_source,
            target=self.warm_target,
            other=self.warm_other,
            is_small=True,
        )

    def turns(self) -> list[int]:
        """Return the cost of each task of `pareto`, in turns of a loop."""
        return [1_000] * 4 if self.is_small else pareto_turns(self.tasks)


def scan_map(table: pa.Table) -> pa.Table:
    """Return the scan's output of rows that the filter has kept."""
    total = pc.multiply(table["price"], table["qty"])
    return pa.table(
        {
            "id": table["id"],
            "account": table["account"],
            "country": table["country"],
            "price": table["price"],
            "total": total,
            "net": pc.multiply(total, pc.subtract(1.0, table["discount"])),
            "hour": pc.hour(table["ts"]),
            "label": pc.utf8_upper(table["note"]),
        }
    )


def tiny_map(table: pa.Table) -> pa.Table:
    """Return a table with one more column."""
    return table.append_column("twice", pc.multiply(table["value"], 2.0))


def pareto_turns(tasks: int = TASKS) -> list[int]:
    """Return the cost of each task, in turns of a loop: Pareto, the slowest 30 x the median."""
    draws = np.sort(np.random.default_rng(PARETO_SEED).pareto(1.3, tasks) + 1.0)
    # Stretched so that the slowest is what it must be, whatever the draw was.
    scaled = draws / np.median(draws)
    power = np.log(SLOWEST_TO_MEDIAN) / np.log(scaled[-1])
    turns = np.rint(np.power(scaled, power) * SPIN_MEDIAN).astype(int)
    order = np.random.default_rng(PARETO_SEED + 1).permutation(tasks)
    return [int(turn) for turn in turns[order]]


def spun(turns: int) -> int:
    """Return what `spin` does, without the turns: a step is affine, and so are many in one."""
    times, plus, value = 1_103_515_245, 12_345, 1
    while turns:
        if turns & 1:
            value = (value * times + plus) & 0x7FFFFFFF
        times, plus = (times * times) & 0x7FFFFFFF, (plus * times + plus) & 0x7FFFFFFF
        turns >>= 1
    return value


def spin(turns: int) -> int:
    """Compute something in pure Python for a number of turns."""
    value = 1
    for _ in range(turns):
        value = (value * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return value
