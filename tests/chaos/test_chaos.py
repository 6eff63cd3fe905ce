"""Two seeds of the campaign, and what keeps it honest: it can fail. `make chaos` runs many."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

import rayorch as ro
from rayorch.loading import load_pipeline
from tests.chaos.campaign import play
from tests.chaos.faults import FAULTS_MIN, Kind, Where, faults_of
from tests.chaos.work import Work, write_input

WHERES: tuple[Where, ...] = get_args(Where)


@pytest.mark.chaos
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("where", "seed"), [("local", 1), ("s3", 2)])
def test_a_run_comes_out_right_whatever_is_done_to_its_cluster(where: Where, seed: int) -> None:
    (verdict,) = play([seed], where)

    assert not verdict.wrong, "\n".join([*verdict.story, *verdict.wrong])
    assert verdict.faults >= FAULTS_MIN


@pytest.mark.parametrize("where", WHERES)
def test_a_seed_decides_its_faults_and_the_seeds_together_have_all_kinds(where: Where) -> None:
    assert faults_of(7, where) == faults_of(7, where)

    kinds = Counter(fault.kind for seed in range(50) for fault in faults_of(seed, where))

    of_store = {"store frozen", "store crashed"}
    assert set(kinds) == set(get_args(Kind)) - (of_store if where == "local" else set())
    assert kinds["head lost"] == 10
    assert min(len(faults_of(seed, where)) for seed in range(50)) >= FAULTS_MIN


def test_rows_that_are_lost_doubled_or_left_over_are_told_and_work_done_again_is_counted(
    tmp_path: Path,
) -> None:
    """The oracle itself, on an output that a single process writes."""
    write_input(str(tmp_path / "in"), files=10)
    work = Work(
        tmp_path / "work",
        rows=str(tmp_path / "in"),
        out=str(tmp_path / "out"),
        form="parquet",
        files=10,
        parts=4,
        work_s=0.0,
    )
    pipeline = load_pipeline(str(work.write()))
    work.open("first")
    work.open("second")
    ro.run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    assert work.wrong() == []
    assert work.redone() == 0.0
    (tmp_path / "work" / "notes" / "first-0").write_text(f"{work.rows_in_all // 5}\n")
    assert work.redone() == pytest.approx(0.1)
    (tmp_path / "out" / "mapped" / "stray.parquet").write_bytes(b"x")
    assert "files that no commit names: ['stray.parquet']" in work.wrong()[0]
    more = dataclasses.replace(work, files=11)
    assert more.wrong()[0].endswith("/mapped holds other rows: 250 of 275")
