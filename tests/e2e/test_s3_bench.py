"""The suite on a real S3 server: what it makes there, reads there, and leaves there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.store import open_store
from rayorch.bench.results import read_results
from tests.s3_server import S3Server, lent_s3

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(500)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with lent_s3(tmp_path / "s3") as lent:
        yield lent


def bench(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rayorch", "bench", *typed],
        env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_awkward_data_is_made_in_a_bucket_and_never_over_what_is_there(
    server: S3Server, tmp_path: Path
) -> None:
    typed = ("data", "nested", "--to", f"{server.url}/nested", "--rows", "2000", "--files", "3")

    first, second = bench(tmp_path, *typed), bench(tmp_path, *typed)

    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith(f"{server.url}/nested: 2,000 rows, 3 files, ")
    assert second.returncode != 0
    assert "there is something already: part-00000.parquet" in second.stderr


def test_a_workload_of_tpch_and_its_peers_are_measured_on_a_bucket(
    server: S3Server, tmp_path: Path
) -> None:
    """Inputs, outputs, home and journal are all there; every output is held against DuckDB's."""
    lake, file = f"{server.url}/bench", tmp_path / "out.jsonl"

    done = bench(
        tmp_path,
        *("run", "--quick", "--scale", "0.001", "--only", "scan,tpch-join"),
        *("--peers", "pool,polars,duckdb", "--data", lake, "-o", str(file)),
    )

    assert "Traceback" not in done.stderr, done.stderr
    results = read_results(file)
    assert not results.failures(), results.failures()
    scan = {("scan", side) for side in ("rayorch", "rayorch delta", "pool", "polars", "duckdb")}
    tpch = {("tpch-join", side) for side in ("rayorch", "polars", "duckdb")}
    assert set(results.sides) == scan | tpch
    assert results.machines()[0].asked["data"] == "s3"
    keys = [info.key for info in open_store(lake).list()]
    assert "tpch-0.001-plain/lineitem/_copied" in keys
    assert not [key for key in keys if "session-" in key]
