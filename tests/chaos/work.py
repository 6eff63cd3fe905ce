"""What runs while everything is hurt, and how it is told that it came out right.

A map of many small files and an exchange, each with an output. Every call of a function first
notes how many rows it was given, in a file that nobody deletes: what was done more than once is
counted where it is done, and not by those whose book-keeping is on trial. Two gates hold the last
tasks of each stage back until the faults have landed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

import rayorch as ro
from connectors.store import open_store

FILES: Final = 200
ROWS: Final = 25
"""Of each file."""
PARTS: Final = 80
WORK_S: Final = 0.05
HELD_FILES: Final = 8
HELD_IDS: Final = 10
"""Parts that begin with an id below it are held: some of them, and never all."""

PIPELINE = '''
import os
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

NOTES, GATES = Path("{notes}"), Path("{gates}")
# Who kills runners at random is no task that kills its own.
pipeline = ro.Pipeline("chaos", retry=ro.RetryPolicy(backoff_s=0.05, strikes_max=20))
rows = pipeline.read("rows", "{rows}", split="file")


def work(stage, table, held):
    """Note what has begun, and take a while; what is held takes until its gate is open."""
    if table.num_rows:
        with (NOTES / f"{{stage}}-{{os.getpid()}}").open("a") as notes:
            notes.write(f"{{table.num_rows}}\\n")
        time.sleep({work_s})
        while held and not (GATES / stage).exists():
            time.sleep(0.02)
    return table.append_column(stage, pc.multiply(table["id"], 2))


@pipeline.map(rows, output="mapped")
def mapped(table: pa.Table) -> pa.Table:
    held = pc.max(table["id"]).as_py() or 0
    return work("first", table, held >= {held_first})


mixed = mapped.repartition("mixed", by="id", parts={parts})


@pipeline.map(mixed, output="again")
def again(table: pa.Table) -> pa.Table:
    held = pc.min(table["id"]).as_py()
    return work("second", table, held is not None and held < {held_second})


mapped.write("{out}/mapped", format="{form}")
again.write("{out}/again", format="{form}")
'''


def write_input(url: str, files: int = FILES) -> None:
    """Write files of known content: ids that never repeat."""
    store = open_store(url)
    for index in range(files):
        sink = pa.BufferOutputStream()
        ids = pa.array(range(index * ROWS, (index + 1) * ROWS), pa.int64())
        pq.write_table(pa.table({"id": ids}), sink)
        store.put(f"{index:04d}.parquet", sink.getvalue().to_pybytes())


@dataclass(frozen=True)
class Work:
    """One run's pipeline, output and notes."""

    folder: Path
    rows: str
    out: str
    form: str
    files: int = FILES
    parts: int = PARTS
    work_s: float = WORK_S

    @property
    def rows_in_all(self) -> int:
        """Rows of the input, and of each output."""
        return self.files * ROWS

    def write(self) -> Path:
        """Write the pipeline as a file."""
        for name in ("notes", "gates"):
            (self.folder / name).mkdir(parents=True)
        file = self.folder / "pipeline.py"
        file.write_text(
            PIPELINE.format(
                notes=self.folder / "notes",
                gates=self.folder / "gates",
                rows=f"{self.rows}/*.parquet",
                parts=self.parts,
                out=self.out,
                form=self.form,
                work_s=self.work_s,
                held_first=(self.files - HELD_FILES) * ROWS,
                held_second=HELD_IDS,
            )
        )
        return file

    def begun(self) -> list[int]:
        """Return the rows of each call that has begun, of both stages."""
        return [
            int(line)
            for path in (self.folder / "notes").iterdir()
            for line in path.read_text().split()
        ]

    def open(self, stage: str) -> None:
        """Let the held tasks of a stage go."""
        (self.folder / "gates" / stage).touch()

    def redone(self) -> float:
        """Return the part of the work that was begun in vain."""
        return sum(self.begun()) / (2 * self.rows_in_all) - 1.0

    def wrong(self) -> list[str]:
        """Return in what the outputs are not those of an undisturbed run; nothing: all is well."""
        wrong, total = [], self.rows_in_all
        for name, columns in (("mapped", ("first",)), ("again", ("first", "second"))):
            url = f"{self.out}/{name}"
            table = ro.read(url).to_table().sort_by("id")
            expected = pa.table({"id": pa.array(range(total), pa.int64())})
            for column in columns:
                doubled = pa.array(range(0, 2 * total, 2), pa.int64())
                expected = expected.append_column(column, doubled)
            if not table.select(expected.column_names).combine_chunks().equals(expected):
                wrong.append(f"{url} holds other rows: {table.num_rows} of {total}")
            if extra := self._orphans(url):
                wrong.append(f"{url} has files that no commit names: {sorted(extra)[:3]}")
        return wrong

    def _orphans(self, url: str) -> set[str]:
        seen = {Path(path).name for path in ro.read(url).files}
        keys = {info.key for info in open_store(url).list() if info.key.endswith(".parquet")}
        return {Path(key).name for key in keys if "_delta_log" not in key} - seen
