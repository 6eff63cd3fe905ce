"""What the commands say of stages whose tasks are known only when their input was measured."""

from collections.abc import Callable

import pytest

from tests.rayorch.cli.conftest import Shell

JOINED = """
import rayorch as ro

nightly = ro.Pipeline("nightly", owner="data-platform")
lines = nightly.read("lines", "FOLDER/in/*.parquet")
totals = lines.aggregate("totals", by="a", rows=("*", "count"))
joined = lines.join("joined", totals, on="a", how="KIND")
joined.write("FOLDER/out", format="parquet")
"""


@pytest.fixture
def joined(shell: Shell) -> Shell:
    shell.write(JOINED.replace("KIND", "left"))
    return shell


def test_plan_says_what_is_not_known_before_it_is_measured(joined: Shell) -> None:
    said = joined("plan", "nightly.py")

    assert said.code == 0, said.err
    assert "(and those of 2 exchanges, once measured)" in said.out
    assert "  tasks     as many as what it takes turns out to need" in said.out
    assert "  does      left join on a" in said.out
    stages = joined("plan", "nightly.py", "--json").document["stages"]
    assert [stage["tasks"] for stage in stages] == [1, None, None]


def test_explain_says_how_a_stage_was_cut_and_by_which_numbers(
    joined: Shell, steady: Callable[[str], str]
) -> None:
    joined("run", "nightly.py")

    said = joined("explain", "last")

    lines = steady(said.out).splitlines()
    assert "  totals    1 task of what was measured" in lines
    assert any("so many fit in memory" in line and "mib=" in line for line in lines)
    assert any("rows sent as they are" in line and "share=1" in line for line in lines)
    plan = joined("explain", "last", "--json").document["plan"]
    assert [stage["tasks"] for stage in plan] == [1, 1, 1]
    assert "ranges read" in plan[2]["why"]


def test_explain_says_what_a_task_reads_of_its_exchange(joined: Shell) -> None:
    joined("run", "nightly.py")

    wrote, joins = joined("explain", "last", "0"), joined("explain", "last", "2")

    assert "  exchange  " in wrote.out
    assert joins.code == 0, joins.err
    assert "  stage     joined" in joins.out
    assert "  left      about 30 rows" in joins.out
    assert "  right     about " in joins.out
    assert "of exchange files" in joins.out
    document = joined("explain", "last", "2", "--json").document
    assert [side["side"] for side in document["exchange"]["sides"]] == ["left", "right"]
    assert document["exchange"]["sides"][0]["rows"] == 30
    assert document["exchange"]["requests"] >= 2


def test_a_run_is_not_resumed_with_another_operator(shell: Shell) -> None:
    """Its exchange files were written for the operator that it began with."""
    shell.write(JOINED.replace("KIND", "left").replace('("*", "count")', '("t", "sum")'))
    failed = shell("run", "nightly.py")
    assert failed.code == 1

    shell.write(JOINED.replace("KIND", "semi").replace('("*", "count")', '("t", "sum")'))
    again = shell("resume", "last", "nightly.py")

    assert again.code != 0
    assert "joined" in again.err


def test_a_stage_that_merges_hot_keys_is_shown_also_where_there_are_none(
    shell: Shell, steady: Callable[[str], str]
) -> None:
    counted = JOINED.replace('rows=("*", "count")', 'b=("a", "count_distinct")')
    shell.write(counted.replace("KIND", "left"))

    planned = shell("plan", "nightly.py")
    ran = shell("run", "nightly.py")
    said = shell("explain", "last")

    assert "(and those of 2 exchanges, once measured)" in planned.out
    assert "  does      merge states of keys that are too large for one task" in planned.out
    assert ran.code == 0, ran.err
    lines = steady(said.out).splitlines()
    assert "  totals, hot keys  0 tasks of what was measured" in lines
    assert any("nothing merged first: all of it is for one task" in line for line in lines)
