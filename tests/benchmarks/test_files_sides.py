"""Peers that read and write files make of them what the SQL says."""

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.data import TINY, WARM, made
from benchmarks.jobs import SCAN_SQL, TINY_SQL, Job
from benchmarks.session import UNSEEN
from benchmarks.sides import duckdb_one, polars_one, pool
from benchmarks.verify import expected, of_files

MODULES = {"dask": "dask_one", "daft": "daft_any"}
WORK = {
    "scan": (replace(WARM, files=2, rows_per_file=500), SCAN_SQL),
    "tiny": (replace(TINY, files=3, rows_per_file=20), TINY_SQL),
}


@pytest.mark.filterwarnings("ignore")  # Of each other's deprecations: not ours to mend.
@pytest.mark.parametrize("kind", WORK)
@pytest.mark.parametrize("side", ["polars", "duckdb", "pool", "dask", "daft"])
def test_a_peer_writes_what_the_sql_says(
    kind: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in UNSEEN.items():
        monkeypatch.setenv(name, value)
    shape, sql = WORK[kind]
    source, target = str(made(shape, tmp_path)), str(tmp_path / "out")

    match side:
        case "polars":
            polars_one.worked(kind, source, "", target)
        case "duckdb":
            duckdb_one.worked(Job(kind, source, target), source, "", target)
        case "pool":
            # What its processes do, without them.
            function = pool.scan_file if kind == "scan" else pool.tiny_file
            for paths in pool.pairs(source, target):
                function(paths)
        case _:
            pytest.importorskip(side, reason="the extra `bench` is not installed")
            module = importlib.import_module(f"benchmarks.sides.{MODULES[side]}")
            if side == "dask":
                module.worked(kind, source, "", target)
            else:
                (module.scanned if kind == "scan" else module.tiny)(source, target)

    wanted = expected(source, sql)
    assert wanted.rows
    assert of_files([str(path) for path in Path(target).glob("*.parquet")], wanted) == wanted
