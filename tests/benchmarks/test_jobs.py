from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.data import Shape, events_table, made, points_table
from benchmarks.jobs import (
    QTY_BELOW,
    SCAN_SQL,
    SPIN_MEDIAN,
    TINY_SQL,
    pareto_turns,
    scan_map,
    spin,
    spun,
    tiny_map,
)
from benchmarks.verify import expected, of_files

EVENTS = Shape(name="events", files=2, rows_per_file=1_000, seed=1, table=events_table)
POINTS = Shape(name="points", files=2, rows_per_file=100, seed=1, table=points_table)


def test_the_scan_in_arrow_is_the_scan_in_sql(tmp_path: Path) -> None:
    source = made(EVENTS, tmp_path)
    table = pq.read_table(source)

    pq.write_table(scan_map(table.filter(pc.less(table["qty"], QTY_BELOW))), tmp_path / "out")

    wanted = expected(str(source), SCAN_SQL)
    assert of_files([str(tmp_path / "out")], wanted) == wanted


def test_the_tiny_map_in_arrow_is_the_one_in_sql(tmp_path: Path) -> None:
    source = made(POINTS, tmp_path)

    pq.write_table(tiny_map(pq.read_table(source)), tmp_path / "out")

    wanted = expected(str(source), TINY_SQL)
    assert of_files([str(tmp_path / "out")], wanted) == wanted


@pytest.mark.parametrize("wrong", ["one row twice", "a row missing", "cells of other rows"])
def test_a_wrong_output_has_another_fingerprint(wrong: str, tmp_path: Path) -> None:
    source = made(POINTS, tmp_path)
    right = tiny_map(pq.read_table(source))
    rows = right.num_rows
    tables = {
        "one row twice": right.take([*range(rows - 1), 0]),
        "a row missing": right.slice(1),
        # Each column alone is right: only whole rows tell.
        "cells of other rows": right.set_column(
            1, "sensor", right["sensor"].take([*range(rows)][::-1])
        ),
    }

    pq.write_table(tables[wrong], tmp_path / "out")

    wanted = expected(str(source), TINY_SQL)
    assert of_files([str(tmp_path / "out")], wanted) != wanted


def test_the_order_of_rows_and_files_does_not_matter(tmp_path: Path) -> None:
    source = made(POINTS, tmp_path)
    right = tiny_map(pq.read_table(source))
    order = np.random.default_rng(1).permutation(right.num_rows)

    pq.write_table(right.take(order[:77]), tmp_path / "a")
    pq.write_table(right.take(order[77:]), tmp_path / "b")

    wanted = expected(str(source), TINY_SQL)
    assert of_files([str(tmp_path / "b"), str(tmp_path / "a")], wanted) == wanted


def test_the_slowest_task_costs_thirty_times_the_median() -> None:
    turns = pareto_turns(400)

    assert turns == pareto_turns(400)
    assert len(turns) == 400
    assert np.median(turns) == pytest.approx(SPIN_MEDIAN, rel=0.01)
    assert max(turns) == pytest.approx(30 * SPIN_MEDIAN, rel=0.01)


def test_spinning_is_work_that_cannot_be_skipped() -> None:
    assert spin(3) == spin(3)
    assert spin(3) != spin(4)


def test_what_turns_of_the_loop_come_to_is_known_without_them() -> None:
    """So that what peers return of their tasks can be compared."""
    assert [spun(turns) for turns in (0, 1, 2, 1_000, 4_321)] == [
        spin(turns) for turns in (0, 1, 2, 1_000, 4_321)
    ]
