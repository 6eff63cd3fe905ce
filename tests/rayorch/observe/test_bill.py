"""A bill in words: what is known, what is not, and what was in time."""

import json

import msgspec
import pytest

from rayorch.core.placed import Forecast
from rayorch.observe.bill import (
    bill_lines,
    bill_table,
    cost_data,
    cost_text,
    deadline_data,
    deadline_text,
    estimate_lines,
)
from rayorch.observe.cost import CostLine, DatasetCost, RunCost
from rayorch.observe.figures import change_text, usd_text
from rayorch.observe.report import report_data, report_of
from tests.rayorch.observe.views import view

LINE = CostLine(
    stage="lines",
    pool="fast",
    attempts=4,
    core_s=7200.0,
    wasted_core_s=720.0,
    known_usd=1.25,
    compute_usd=1.0,
    wasted_usd=0.1,
    egress_usd=0.2,
    request_usd=0.05,
)
WAITED = CostLine(
    pool="fast",
    core_s=1800.0,
    known_usd=0.25,
    compute_usd=0.25,
    wasted_usd=0.0,
    egress_usd=0.0,
    request_usd=0.0,
)
ESTIMATE = Forecast(usd=1.2, p50_s=60.0, p95_s=90.0)
FREE = CostLine(stage="lines", pool="local", attempts=1, core_s=36.0)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "unknown"),
        (0.0, "0.00 USD"),
        (0.00421, "0.00421 USD"),
        (0.5, "0.50 USD"),
        (0.0000306, "0.0000306 USD"),
        (12.345, "12.35 USD"),
        (1234567.0, "1,234,567.00 USD"),
    ],
)
def test_dollars_have_the_digits_that_count(usd: float | None, text: str) -> None:
    assert usd_text(usd) == text


def test_a_change_is_a_share_until_it_is_a_multiple() -> None:
    assert [change_text(now, 2.0) for now in (2.1, 1.0, 7.0)] == ["+5 %", "-50 %", "x 3.5"]


def test_cost_is_said_beside_the_estimate() -> None:
    cost = RunCost(work=(LINE,), idle=(WAITED,), estimate=ESTIMATE)

    assert cost_text(cost) == "1.50 USD, 2.50 core hours; estimated 1.20 USD (+25 %)"


def test_unknown_dollars_are_not_invented() -> None:
    hours = Forecast(core_hours=0.008, p95_s=9.0)

    assert cost_text(RunCost(work=(FREE,), estimate=hours)) == (
        "0.01 core hours; estimated 28.8 core seconds (+25 %); "
        "dollars unknown: no price is known for local"
    )
    assert cost_text(RunCost(work=(LINE, FREE))) == (
        "2.01 core hours; dollars 1.25 USD and more: no price is known for local"
    )
    assert cost_text(RunCost(work=(msgspec.structs.replace(FREE, pool=""),))) == (
        "0.01 core hours; dollars unknown: no price is known"
    )


@pytest.mark.parametrize(
    ("state", "at_s", "text"),
    [
        ("succeeded", 1090.0, "kept: 2 min 00 s, 30.0 s to spare"),
        ("succeeded", 1132.0, "missed by 12.0 s: 2 min 00 s"),
        ("running", 1100.0, "2 min 00 s, 20.0 s left"),
        ("running", 1130.0, "missed by 10.0 s so far: 2 min 00 s"),
    ],
)
def test_a_deadline_is_kept_or_missed_by_so_much(state: str, at_s: float, text: str) -> None:
    seen = view(state=state, at_s=at_s)

    assert deadline_text(seen, 120.0) == text


def test_a_deadline_for_programs() -> None:
    assert deadline_data(view(), None) is None
    assert deadline_data(view(state="running", at_s=1010.0), 120.0) == {
        "within_s": 120.0,
        "kept": None,
        "left_s": 110.0,
    }
    late = deadline_data(view(state="failed", at_s=1130.0), 120.0)
    assert late is not None
    assert late["kept"] is False


def test_an_estimate_names_money_odds_and_time() -> None:
    priced = Forecast(usd=0.4, p50_s=60.0, p95_s=90.0, hit=0.975)
    assert list(estimate_lines(priced, has_deadline=True)) == [
        "0.40 USD; deadline kept in 97.5 % of runs",
        "ends after 60.0 s usually, 90.0 s in 95 % of runs",
    ]
    free = Forecast(core_hours=2.5, p50_s=60.0, p95_s=90.0)
    first, _ = estimate_lines(free, has_deadline=False)
    assert first == "2.50 core hours, dollars unknown"


def test_a_bill_has_a_row_for_each_stage_and_pool_then_idle_then_all() -> None:
    columns, rows = bill_table(RunCost(work=(LINE, FREE), idle=(WAITED,)))

    assert columns[-1] == "USD>"
    assert [row[:2] for row in rows] == [
        ("lines", "fast"),
        ("lines", "local"),
        ("(idle)", "fast"),
        ("all", " "),
    ]
    assert rows[0][2:] == ("4", "2.00", "1.00", "0.200", "0.0500", "0.100", "1.25")
    assert rows[1][-1] == rows[-1][-1] == "unknown"
    assert bill_table(RunCost(work=(LINE,), idle=(WAITED,)))[1][-1][-2:] == ("0.100", "1.50")


def test_a_bill_without_prices_has_hours_alone() -> None:
    columns, rows = bill_table(RunCost(work=(FREE,)))

    assert columns == ("stage", "pool", "attempts>", "core h>", "wasted h>")
    assert rows == [("lines", "local", "1", "0.0100", "0.00")]


def test_a_bill_has_no_columns_for_what_nobody_was_charged() -> None:
    line = msgspec.structs.replace(LINE, egress_usd=0.0, request_usd=0.0)

    columns, _ = bill_table(RunCost(work=(line,)))

    assert columns[3:] == ("core h>", "compute>", "wasted>", "USD>")


def test_estimate_waste_idle_and_outputs_are_told_apart() -> None:
    outputs = (DatasetCost("s3://lake/out", 7200.0, 1.25), DatasetCost("s3://lake/b", 36.0, None))
    cost = RunCost(work=(LINE,), idle=(WAITED,), datasets=outputs, estimate=ESTIMATE)

    assert list(bill_lines(cost, has_deadline=False)) == [
        ("estimate", "1.20 USD"),
        ("", "ends after 60.0 s usually, 90.0 s in 95 % of runs"),
        ("wasted", "0.20 core hours of attempts that came to nothing, 0.10 USD"),
        ("idle", "0.50 core hours of nodes that started and waited for the run, 0.25 USD"),
        ("outputs", "1.25 USD, 2.00 core hours for s3://lake/out"),
        ("", "unknown, 0.01 core hours for s3://lake/b"),
    ]


def test_a_bill_for_programs_has_nulls_where_nothing_is_known() -> None:
    document = json.loads(msgspec.json.encode(cost_data(RunCost(work=(LINE, FREE)))))

    assert document["usd"] is None
    assert document["known_usd"] == 1.25
    assert document["unpriced_pools"] == ["local"]
    assert [line["usd"] for line in document["by_stage_and_pool"]] == [1.25, None]
    assert document["estimate"] is None


def test_a_report_says_cost_and_deadline_in_a_line_each() -> None:
    seen = view(state="succeeded", finished_s=1010.0, cost=RunCost(work=(LINE,)))

    lines = report_of(seen, deadline_s=15.0).lines
    assert ("cost", "1.25 USD, 2.00 core hours") in lines
    assert ("deadline", "kept: 15.0 s, 5.00 s to spare") in lines
    assert report_data(seen, deadline_s=15.0)["deadline"]["kept"] is True
    assert report_data(view())["cost"] is None
