import importlib
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.data import Shape, made, scaled, tpch_folder
from benchmarks.jobs import Job
from benchmarks.keyed.data import (
    DEVICE,
    FACT,
    FACT_20,
    FACT_HALF,
    HOT_ITEM,
    HOT_SHARE,
    ITEM,
    STATE,
    fact_table,
    items_table,
)
from benchmarks.keyed.jobs import KEYED
from benchmarks.keyed.own import exchange_pipeline, exchanged, keyed_pipeline
from benchmarks.session import UNSEEN
from benchmarks.sides import duckdb_one, polars_one
from benchmarks.verify import disorder_of, expected, of_files
from benchmarks.workloads.keyed import LIMITS, SKEW_SQL
from benchmarks.workloads.memory import MEMORY_SQL
from rayorch import Pipeline, read, run
from rayorch.home import open_home
from rayorch.plan import waiting
from tests.thinned import thinned

OTHER = {"join": ITEM, "join-wide": ITEM, "asof": STATE}


def job_of(kind: str, folder: Path) -> Job:
    def small(shape: Shape) -> str:
        return str(made(scaled(shape, 0.0005), folder))

    if kind.startswith("tpch"):
        lake = tpch_folder(folder, 0.001)
        return Job(kind, str(lake / "lineitem"), str(folder / "out"), other=str(lake / "orders"))
    other = small(OTHER[kind]) if kind in OTHER else ""
    if kind == "star":
        other = str(made(DEVICE, folder))  # All of them: facts are of any device.
    fact = LIMITS[kind].fact if kind in LIMITS else FACT
    return Job(kind, small(fact), str(folder / "out"), other=other)


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        *((kind, "rayorch") for kind in KEYED),
        *thinned(itertools.product(KEYED, ["polars", "duckdb"]), 3, values=2),
    ],
)
def test_every_side_makes_what_the_sql_says(kind: str, side: str, tmp_path: Path) -> None:
    job = job_of(kind, tmp_path)
    target = tmp_path / "out"

    if side == "rayorch":
        pipeline = Pipeline("p")
        keyed_pipeline(pipeline, job)
        run(pipeline, home=str(tmp_path / "home"), executor="in-process")
        files = list(read(job.target).files)
    else:
        if side == "polars":
            polars_one.worked(kind, job.source, job.other, job.target)
        else:
            duckdb_one.worked(job, job.source, job.other, job.target)
        files = [str(path) for path in target.glob("*.parquet")]

    wanted = expected(job.source, KEYED[kind].sql, job.other)
    assert wanted.rows
    assert of_files(files, wanted) == wanted
    if KEYED[kind].order:
        assert disorder_of(files, KEYED[kind].order) == ""


@pytest.mark.filterwarnings("ignore")  # Of each other's deprecations: not ours to mend.
@pytest.mark.parametrize(
    "kind", [kind for kind in KEYED if kind not in LIMITS or "daft" not in LIMITS[kind].cannot]
)
@pytest.mark.parametrize("side", ["daft_any", "dask_one"])
def test_peers_of_the_extra_make_what_the_sql_says(
    kind: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: what their clusters do differently, only the suite sees."""
    for name, value in UNSEEN.items():
        monkeypatch.setenv(name, value)
    pytest.importorskip("daft", reason="the extra `bench` is not installed")
    job = job_of(kind, tmp_path)
    if side == "daft_any":
        daft_any = importlib.import_module("benchmarks.sides.daft_any")
        daft_any.keyed(job, job.source, job.other, job.target)
    else:
        dask_one = importlib.import_module("benchmarks.sides.dask_one")
        dask_one.worked(kind, job.source, job.other, job.target)

    wanted = expected(job.source, KEYED[kind].sql, job.other)
    files = [str(path) for path in Path(job.target).glob("*.parquet")]
    assert of_files(files, wanted) == wanted
    # Dask divides by range only what is more than two partitions, and here there are two.
    if KEYED[kind].order and side == "daft_any":
        assert disorder_of(files, KEYED[kind].order) == ""


@pytest.mark.parametrize("operator", SKEW_SQL)
def test_what_is_skewed_makes_what_its_sql_says(operator: str, tmp_path: Path) -> None:
    kind = f"skew-{operator}"
    fact, items = (str(made(scaled(shape, 0.0005), tmp_path)) for shape in (FACT_HALF, ITEM))
    job = Job(kind, fact, str(tmp_path / "out"), other=items)
    pipeline = Pipeline("p")
    exchange_pipeline(pipeline, job)

    run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    wanted = expected(job.source, SKEW_SQL[operator], job.other)
    assert wanted.rows
    assert of_files(list(read(job.target).files), wanted) == wanted


@pytest.mark.parametrize("kind", MEMORY_SQL)
def test_what_is_weighed_makes_what_its_sql_says(kind: str, tmp_path: Path) -> None:
    job = job_of(f"memory-{kind}", tmp_path)
    pipeline = Pipeline("p")
    keyed_pipeline(pipeline, job)

    run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    wanted = expected(job.source, MEMORY_SQL[kind])
    assert wanted.rows
    assert of_files(list(read(job.target).files), wanted) == wanted


def test_as_many_tasks_fill_a_wide_exchange_as_read_it(tmp_path: Path) -> None:
    pipeline = Pipeline("p")
    exchange_pipeline(pipeline, Job("wide", rows=2_000, tasks=7))

    done = run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    assert done.view.tasks == 14


def test_what_exchanges_took_is_told_where_a_stage_has_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the other side was measured: such a stage has a plan, and of another kind."""
    monkeypatch.setattr(waiting, "LARGE_BYTES_MIN", 1)
    for name in ("facts", "items"):
        (tmp_path / name).mkdir()
    for number in range(4):
        facts = pa.table({"key": np.arange(5_000), "price": np.arange(5_000.0)})
        pq.write_table(facts, tmp_path / "facts" / f"{number}.parquet")
    pq.write_table(pa.table({"item": np.arange(50)}), tmp_path / "items" / "0.parquet")
    source, target, other = (str(tmp_path / name) for name in ("facts", "out", "items"))
    job = Job("skew-join", source, target, other=other)
    pipeline = Pipeline("p")
    exchange_pipeline(pipeline, job)

    done = run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    assert done.view.totals.rows_in == 50 + 4 * 50
    told = exchanged(open_home(f"file://{tmp_path}/home"), done.view)
    # The fifty items alone, and each of them whole for each task.
    assert 0 < int(told["exchange_written_bytes"]) < 10_000
    assert told["slowest_over_mean"] == 1.0


def test_disorder_is_seen_within_a_file_and_between_files(tmp_path: Path) -> None:
    def written(name: str, values: list[int]) -> str:
        pq.write_table(pa.table({"k": values}), tmp_path / name)
        return str(tmp_path / name)

    first, within = written("a", [1, 2, 2]), written("b", [3, 5, 4])
    second, overlapping = written("c", [2, 7]), written("d", [1, 3])

    assert disorder_of([second, first], "k") == ""
    assert "after greater ones" in disorder_of([first, within], "k")
    assert "begins with" in disorder_of([overlapping, first], "k")


def test_keys_are_as_skewed_as_they_say() -> None:
    def hottest(shape: Shape) -> float:
        counts = np.unique_counts(shape.table(shape, 0)["key"].to_numpy()).counts
        return float(counts.max() / counts.sum())

    assert hottest(FACT) == pytest.approx(0.19, abs=0.01)
    assert hottest(FACT_20) == pytest.approx(0.61, abs=0.01)
    assert hottest(FACT_HALF) == pytest.approx(0.5, abs=0.01)
    items = fact_table(FACT, 0)["item"].to_numpy()
    assert float(np.mean(items == HOT_ITEM)) == pytest.approx(HOT_SHARE, abs=0.01)


def test_items_are_there_once() -> None:
    shape = replace(scaled(ITEM, 0.001), files=4, rows_per_file=500)
    items = np.concatenate([items_table(shape, i)["item"].to_numpy() for i in range(4)])

    assert len(np.unique(items)) == shape.rows
