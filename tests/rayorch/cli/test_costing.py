"""`rayorch cost`: however it is cut, it adds up to the same."""

import pytest

from rayorch.cli.costing import since_of
from rayorch.cli.errors import OptionError
from rayorch.core.accounts import NANO
from tests.rayorch.cli import placed_run
from tests.rayorch.cli.conftest import Shell
from tests.rayorch.cli.test_explaining import squeezed

SIDES = ("run", "stage", "dataset", "tenant", "pool", "day")


@pytest.fixture
def url(shell: Shell) -> str:
    url = f"file://{shell.folder}/home"
    placed_run.write(url)
    return url


def test_a_run_is_shown_by_its_stages(shell: Shell, url: str) -> None:
    lines = squeezed(shell("cost", "last"))

    assert lines[0] == "stage core h work nodes requests USD"
    assert lines[1].startswith("nightly.lines ")
    assert lines[2].startswith("nightly.orders ")
    assert lines[3].startswith("all 0.0969 ")
    assert lines[3].endswith(" 0.0753")


@pytest.mark.parametrize("by", SIDES)
def test_by_every_side_the_sum_is_what_the_nodes_cost_and_what_was_asked(
    shell: Shell, url: str, by: str
) -> None:
    accounts = placed_run.machine(url).accounts
    nodes_usd = sum(paid.nano_usd for paid in accounts.billed.values()) / NANO
    document = shell("cost", "--by", by, "--json").document

    asked_usd = document["total"]["request_usd"] + document["total"]["egress_usd"]
    assert document["nodes_usd"] == pytest.approx(nodes_usd)
    assert document["total"]["usd"] == pytest.approx(nodes_usd + asked_usd, abs=1e-9)
    assert sum(row["usd"] for row in document["rows"]) == pytest.approx(document["total"]["usd"])


def test_tasks_have_all_of_their_attempts_and_their_part_of_the_nodes(
    shell: Shell, url: str
) -> None:
    document = shell("cost", "last", "--by", "task", "--json").document

    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["lines 0", "lines 1", "lines 2", "lines 3", "orders 4", "orders 5"]
    # The first attempt was lost, on spot; the second went well.
    assert rows["lines 0"]["wasted_usd"] > 0.0
    assert rows["lines 1"]["wasted_usd"] == 0.0
    assert document["total"]["usd"] == pytest.approx(
        shell("cost", "last", "--json").document["total"]["usd"]
    )


def test_outputs_together_are_the_run(shell: Shell, url: str) -> None:
    document = shell("cost", "last", "--by", "dataset", "--json").document

    assert [row["name"] for row in document["rows"]] == ["s3://lake/lines", "s3://lake/orders"]


def test_what_is_beyond_the_limit_is_one_row(shell: Shell, url: str) -> None:
    lines = squeezed(shell("cost", "last", "--by", "task", "--limit", "2"))

    assert lines[3].startswith("(4 others) ")
    assert lines[4].endswith(" 0.0753")


def test_without_a_price_there_are_core_hours(shell: Shell) -> None:
    placed_run.write(f"file://{shell.folder}/home", prices=False)

    said = shell("cost")

    assert squeezed(said)[0] == "run core h USD"
    assert squeezed(said)[1].endswith(" 0.0969 unknown")
    assert "`rayorch run --pools FILE` gives prices" in said.err


def test_a_real_run_is_metered_by_its_slots(shell: Shell) -> None:
    shell("run", "nightly.py")

    document = shell("cost", "--by", "pool", "--json").document

    (row,) = document["rows"]
    assert row["name"] == "in-process"
    assert row["usd"] is None
    assert row["core_hours"] > 0.0


def test_since_is_a_time_ago_or_a_date() -> None:
    assert since_of(None, 1e9) == 0.0
    assert since_of("2h", 1e9) == 1e9 - 7200.0
    assert since_of("1w", 1e9) == 1e9 - 7 * 86_400.0
    assert since_of("1970-01-02", 1e9) == 86_400.0


def test_runs_before_are_left_out(shell: Shell, url: str) -> None:
    rows = shell("cost", "--since", "1d", "--json").document["rows"]

    assert rows == []


@pytest.mark.parametrize("text", ["yesterday", "7", "-1d", "2026-13-01"])
def test_another_time_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="a time ago"):
        since_of(text, 1e9)


def test_tasks_are_those_of_a_named_run(shell: Shell, url: str) -> None:
    said = shell("cost", "--by", "task")

    assert said.code == 2
    assert "rayorch cost last --by task" in said.err


def test_a_home_without_runs_says_so(shell: Shell) -> None:
    assert "nothing was charged yet" in shell("cost").err
