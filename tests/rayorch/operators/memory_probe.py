"""Run one operator over four times its memory in this process, and print the memory it took."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from rayorch.operators import open_kernel
from rayorch.relational import AggregateCode, JoinCode, Measure, OperatorCode, SortCode, SortKey

MEMORY_BYTES = 192 << 20
ROW_BYTES = 32
ROWS = 4 * MEMORY_BYTES // ROW_BYTES
BATCH = 100_000
SCHEMA = pa.schema(dict.fromkeys(("k", "a", "b", "c"), pa.int64()))
CODES: dict[str, OperatorCode] = {
    "sort": SortCode(keys=(SortKey(column="k"),)),
    "join": JoinCode(how="inner", left_on=("k",), right_on=("k",)),
    "aggregate": AggregateCode(
        by=("k",),
        measures=tuple(Measure(name=c, column=c, function="sum") for c in ("a", "b", "c")),
    ),
}


def made(rows: int) -> Iterator[pa.Table]:
    """Yield rows whose keys are all distinct and in no order."""
    for start in range(0, rows, BATCH):
        index = np.arange(start, min(start + BATCH, rows))
        columns = [pa.array((index * 2_654_435_761) % (2**31 - 1)), *[pa.array(index)] * 3]
        yield pa.Table.from_arrays(columns, schema=SCHEMA)


def memory(field: str) -> int:
    """Return the kernel's count in bytes: VmHWM is the peak, VmRSS is now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) << 10


def main() -> None:
    import duckdb  # noqa: PLC0415 - the base of the process holds the engine's code.

    duckdb.connect().close()
    code = CODES[sys.argv[1]]
    sides = 2 if isinstance(code, JoinCode) else 1
    base = memory("VmRSS")
    with tempfile.TemporaryDirectory() as spill:
        kernel = open_kernel(code, (SCHEMA,) * sides, memory_bytes=MEMORY_BYTES, spill_dir=spill)
        found = sum(
            t.num_rows for t in kernel.run([lambda: made(ROWS // sides) for _ in range(sides)])
        )
        left = len(list(Path(spill).iterdir()))
    sys.stdout.write(f"{found} {ROWS // sides} {left} {(memory('VmHWM') - base) / MEMORY_BYTES}\n")


if __name__ == "__main__":
    main()
