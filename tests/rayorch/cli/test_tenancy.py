"""`tenants`: what each may have, what holds a run back, and what a bad policy gets."""

import pytest

from tests.rayorch.cli.conftest import PIPELINE, Shell

POLICY = """
tenants:
  finance: {weight: 3, slots: 4, memory: 8 GiB, usd: 50, usd_per: day, runs: 2}
others: {runs: 10}
limits:
  orders-db: 8
"""


def test_a_policy_is_applied_and_shown(shell: Shell) -> None:
    shell.write(POLICY, "tenants.yaml")

    said = shell("tenants", "apply", "tenants.yaml")

    assert said.code == 0, said.err
    row = next(line for line in said.out.splitlines() if line.startswith("finance"))
    assert row.split()[:5] == ["finance", "3", "4", "8.00", "GiB"]
    assert "orders-db" in said.out
    document = shell("tenants", "--json").document
    assert document["limits"] == [{"name": "orders-db", "units": 8, "held": 0}]
    (finance,) = document["tenants"]
    assert (finance["usd_max"], finance["usd_per"], finance["runs_max"]) == (50.0, "day", 2)


def test_a_home_without_tenants_says_what_to_do(shell: Shell) -> None:
    assert "rayorch tenants apply FILE" in shell("tenants").err


def test_a_run_over_its_tenants_dollars_is_blocked_with_exit_code_4(shell: Shell) -> None:
    shell.write("tenants:\n  finance: {usd: 0}\n", "tenants.yaml")
    shell("tenants", "apply", "tenants.yaml")

    said = shell("run", "nightly.py", "--tenant", "finance")

    assert said.code == 4
    assert "tenant 'finance' has spent its quota of the month" in said.err
    assert "rayorch tenants apply FILE" in said.err
    assert "blocked" in shell("runs").out
    (wait,) = shell("tenants", "--json").document["waits"]
    assert (wait["tenant"], wait["cause"]) == ("finance", "quota")

    shell.write("tenants:\n  finance: {usd: 5}\n", "tenants.yaml")
    shell("tenants", "apply", "tenants.yaml")
    assert shell("resume", "last").code == 0


def test_a_transform_that_uses_an_outside_resource_runs_within_its_limit(shell: Shell) -> None:
    shell.write("limits: {orders-db: 1}\n", "tenants.yaml")
    shell("tenants", "apply", "tenants.yaml")
    shell.write(PIPELINE.replace(".map(lines)", ".map(lines, uses={'orders-db': 1})"))

    assert shell("run", "nightly.py", "--slots", "4").code == 0
    assert shell.read_parquet().num_rows == 30


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tenants: {finance: {wieght: 2}}", "unknown field. field=tenants.finance.wieght"),
        ("tenants: {finance: {weight: 0}}", "field=tenants.finance.weight, value=0"),
        ("tenants: {finance: {memory: 8 GB!}}", "field=tenants.finance.memory"),
        ("tenants: {finance: {usd_per: week}}", "field=tenants.finance.usd_per, value='week'"),
        ("limits: {orders-db: -1}", "field=limits.orders-db, value=-1"),
        ("- finance", "a mapping is needed"),
        ("{", "not YAML or JSON"),
    ],
)
def test_a_bad_policy_is_refused_with_its_field_and_changes_nothing(
    shell: Shell, text: str, problem: str
) -> None:
    shell.write(text, "tenants.yaml")

    said = shell("tenants", "apply", "tenants.yaml")

    assert said.code == 2
    assert problem in said.err
    assert "tenants.yaml" in said.err
    assert shell("tenants", "--json").document["tenants"] == []


def test_apply_without_a_file_says_what_is_missing(shell: Shell) -> None:
    said = shell("tenants", "apply")

    assert said.code == 2
    assert "rayorch tenants apply FILE" in said.err


def test_a_run_that_waits_for_hours_begins_all_the_same_for_its_deadline(shell: Shell) -> None:
    """The deadline is too near to wait for any hours: whatever time of day it is."""
    said = shell("run", "nightly.py", "--cheap", "00:00-00:01", "--deadline", "50s")

    assert said.code == 0, said.err
    assert shell.read_parquet().num_rows == 30


def test_hours_and_prices_that_make_no_sense_are_refused_before_anything_starts(
    shell: Shell,
) -> None:
    hours = shell("run", "nightly.py", "--cheap", "at night")
    price = shell("run", "nightly.py", "--price-max", "0.05")

    assert (hours.code, price.code) == (2, 2)
    assert "hours are like 22:00-06:00 (UTC)" in hours.err
    assert "field=cheap, value='at night'" in hours.err
    assert "a run that waits for a price has a deadline" in price.err
    assert "--deadline" in price.err
    assert "no runs" in shell("runs").err
