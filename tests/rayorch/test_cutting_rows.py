"""A file without row groups, or of one, is cut between batches: each row is there once."""

from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.source import discover, open_reader
from connectors.splits import FilePart, SourceSpec, Split
from rayorch import client
from rayorch.client import Connection, LocalControl
from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished
from rayorch.home import decode_split, open_home
from rayorch.runner import engine
from rayorch.settings import Settings
from tests.rayorch.exchanges import Division, divided, events_of

ROWS = {"parquet": 30_000, "csv": 400_000, "jsonl": 150_000}
"""Enough for several batches: text is read in blocks of a megabyte."""
CUT = Division(is_cut=True)


def write(folder: Path, kind: str) -> str:
    rows = ROWS[kind]
    table = pa.table({"id": np.arange(rows), "x": np.arange(rows) % 7})
    folder.mkdir()
    if kind == "parquet":
        pq.write_table(table, folder / "one.parquet", row_group_size=rows)
    elif kind == "csv":
        pyarrow.csv.write_csv(table, folder / "one.csv")
    else:
        lines = "".join(f'{{"id": {i}, "x": {i % 7}}}\n' for i in range(rows))
        (folder / "one.jsonl").write_text(lines)
    return str(folder / f"*.{kind}")


@pytest.mark.parametrize("is_filtered", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_what_is_left_of_one_row_group_is_read_by_others(
    kind: str, is_filtered: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a filter in the reader nobody knows which rows are done: then it stays whole."""
    monkeypatch.setattr(engine, "batch_bytes_of", lambda memory, shrink=0: 64 << 10)
    pipeline = ro.Pipeline("rows")
    rows = pipeline.read("rows", write(tmp_path / "in", kind), split="file")
    some = rows.filter(pc.field("x") < 5, output="some") if is_filtered else rows

    @pipeline.map(some, output="mapped")
    def mapped(table: pa.Table) -> pa.Table:
        return table.append_column("twice", pc.multiply(table["id"], 2))

    mapped.write(str(tmp_path / "out"), format="parquet")
    home, clock = open_home((tmp_path / "home").as_uri()), SystemClock()
    at = Connection(home, clock, Settings(home=home.url, executor="in-process"))
    with divided(CUT), closing(LocalControl(home, clock, 2)) as control:
        run = client.submit_run(at, control, pipeline)
        *_, view = client.follow(at, control, run)

    assert view.state == "succeeded", view.error
    found = sorted(ro.read(str(tmp_path / "out")).to_table()["twice"].to_pylist())
    assert found == [2 * i for i in range(ROWS[kind]) if not is_filtered or i % 7 < 5]
    ends = [each.fact for each in events_of(home) if isinstance(each.fact, AttemptFinished)]
    cuts = [fact.output.cut for fact in ends if fact.output.cut]
    assert (len(cuts) > 2) != is_filtered
    assert view.totals.cuts == len(cuts)
    for done, *rest in cuts:
        parts = [decode_split(data).parts[0] for data in (done, *rest)]
        assert all(one.last == other.first for one, other in pairwise(parts))


@pytest.mark.parametrize("batch_bytes", [1 << 10, 1 << 20])
@pytest.mark.parametrize(("first", "last"), [(0, 9), (9, 10_007), (29_990, 0), (40_000, 0)])
def test_a_reader_yields_the_rows_of_a_range(
    first: int, last: int, batch_bytes: int, tmp_path: Path
) -> None:
    spec = SourceSpec(name="rows", urls=(write(tmp_path / "in", "parquet"),))
    discovery, splits = discover(spec, 1)
    part: FilePart = splits[0].parts[0]
    ranged = FilePart(
        key=part.key, size_bytes=part.size_bytes, version=part.version, first=first, last=last
    )
    reader = open_reader(spec, discovery)

    tables = list(reader.batches(Split(parts=(ranged,)), batch_bytes))

    ids = [i for table in tables for i in table["id"].to_pylist()]
    assert ids == list(range(ROWS["parquet"]))[first : last or None]
    assert f"rows {first}-{last or ''}" in reader.describe(Split(parts=(ranged,))) or not first
