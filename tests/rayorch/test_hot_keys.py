"""Aggregates whose states of a hot key do not shrink: merged in pieces first, results equal."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.api import Dataset
from rayorch.core.facts import AttemptFinished, StagePlanned
from tests.rayorch.exchanges import (
    DIVISIONS,
    KEYS,
    SKEWS,
    Division,
    Done,
    asked,
    keyed_table,
    rows_of,
    run_divided,
)
from tests.thinned import thinned

CUT = Division(splits=6, slots=3, task_bytes=256, heavy_rows=2, heavy_bytes=16)
DIVIDED = (
    *DIVISIONS[:2],
    CUT,
    Division(splits=1, slots=2, task_bytes=64, heavy_rows=2, heavy_bytes=16),
    Division(splits=5, slots=4, task_bytes=2000, heavy_rows=4, heavy_bytes=64),
)
MERGER = 1  # the stage between the read and the aggregate


class Seen(ro.Aggregate):
    """The values of a column, each once: a state that grows with the rows."""

    returns = pa.string()

    def create(self) -> set[Any]:
        return set()

    def update(self, state: set[Any], rows: pa.Table) -> set[Any]:
        return state | set(rows.column(0).to_pylist())

    def merge(self, one: set[Any], other: set[Any]) -> set[Any]:
        return one | other

    def finish(self, state: set[Any]) -> str:
        return " ".join(sorted(map(str, state - {None})))


def distinct(t: Dataset, by: list[str], **options: Any) -> Mapping[str, Dataset]:
    """Counts of distinct values among measures of every kind of state."""
    return {
        "out": t.aggregate(
            "done",
            by=by,
            ids=("id", "count_distinct"),
            kinds=("s", "count_distinct"),
            floats=("x", "count_distinct"),
            own=("s", Seen()),
            total=("n", "sum"),
            rows=("*", "count"),
            spread=("x", "var"),
            head=("s", "first", "id"),
            tail=("deep", "last", "id"),
            least=("at", "min"),
            **options,
        )
    }


def distinct_sql(by: list[str]) -> str:
    """The same as a query; of the values that an author's own aggregate saw, in their order."""
    group = " group by all" if by else ""
    seen = "coalesce(string_agg(distinct s, ' ' order by s), '')"
    return f"""from t select {"".join(f"{name}, " for name in by)}count(distinct id),
        count(distinct s), count(distinct x), {seen}, sum(n)::bigint, count(*), var_samp(x),
        first(s order by id), last(deep order by id), min("at"){group}"""


def merges(done: Done) -> int:
    """Return how many tasks merged hot keys first."""
    (planned,) = (
        event.fact
        for event in done.events
        if isinstance(event.fact, StagePlanned) and event.fact.stage == MERGER
    )
    return planned.tasks


def check(skew: str, division: Division, kinds: tuple[str, ...], seed: int) -> Done:
    table = keyed_table(np.random.default_rng(seed), skew, 400, kinds)
    by = [f"k{at}" for at in range(len(kinds))]

    done = run_divided(lambda t: distinct(t, by), {"t": table}, division)

    assert done.view.state == "succeeded", done.view.error
    assert rows_of(done.outputs["out"]) == rows_of(asked(distinct_sql(by), t=table))
    assert not done.left
    return done


@pytest.mark.parametrize(
    ("skew", "number"),
    thinned(
        (
            (skew, (2 * at + more) % len(DIVIDED))
            for at, skew in enumerate(SKEWS)
            for more in (0, 1)
        ),
        2,
        values=2,
    ),
)
def test_results_do_not_depend_on_what_is_merged_first(skew: str, number: int) -> None:
    kinds = (("int",), ("text", "float"), (), ("zoned",), ("word", "money"))
    check(skew, DIVIDED[number], kinds[(number + len(skew)) % len(kinds)], seed=number)


@pytest.mark.parametrize("by", thinned([["k0"], []], 2))
def test_deterministic_results_have_the_same_bits_whatever_is_merged_first(by: list[str]) -> None:
    """Sums of floats far apart: any other order of adding them up would show."""
    table = keyed_table(np.random.default_rng(3), "half", 600)
    wild = np.random.default_rng(4).normal(size=600) * 10.0 ** (np.arange(600) % 60 - 30)
    table = table.append_column("wild", pa.array(wild))

    def built(t: Dataset) -> Mapping[str, Dataset]:
        return {
            "out": t.aggregate(
                "done",
                by=by,
                ids=("id", "count_distinct"),
                total=("wild", "sum"),
                typical=("wild", "mean"),
                spread=("wild", "var"),
                deterministic=True,
            )
        }

    found = [run_divided(built, {"t": table}, division) for division in DIVIDED]

    assert {merges(done) > 0 for done in found} == {True, False}
    rows = [sorted(done.outputs["out"].to_pylist(), key=str) for done in found]
    assert all(each == rows[0] for each in rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("skew", SKEWS)
def test_results_do_not_depend_on_what_is_merged_first_however_rows_are(
    skew: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    names = list(KEYS)
    kinds = tuple(names[i] for i in random.integers(0, len(names), int(random.integers(0, 3))))
    check(skew, DIVIDED[seed % len(DIVIDED)], kinds, seed)


@pytest.mark.parametrize("skew", thinned(["half", "one", "zipf"], 3))
def test_values_of_a_hot_key_are_counted_by_several_tasks(skew: str) -> None:
    """Tasks that have all rows of their values hand on a number, and no value."""
    done = check(skew, CUT, ("int",), seed=5)

    assert merges(done) >= 2
    run_notes = [
        note
        for event in done.events
        if isinstance(event.fact, StagePlanned)
        for note in event.fact.notes
    ]
    assert any("cut into" in note and "counts some of its values" in note for note in run_notes)
    assert any("states of hot keys merged first" in note for note in run_notes)


def test_without_keys_all_rows_are_one_hot_key() -> None:
    done = check("even", CUT, (), seed=6)

    assert merges(done) >= 2


def test_tasks_that_read_an_exchange_are_cut_while_they_run() -> None:
    """What is left of those that merge hot keys, and of those that read the rest, becomes tasks."""
    division = Division(splits=4, slots=3, task_bytes=8_000, heavy_rows=4, is_cut=True)

    done = check("half", division, ("int",), seed=8)

    planned = {
        fact.stage: fact for event in done.events if isinstance(fact := event.fact, StagePlanned)
    }
    ends = [event.fact for event in done.events if isinstance(event.fact, AttemptFinished)]
    assert [planned[stage].parted for stage in (1, 2)] == [True, True]
    assert planned[1].tasks
    assert done.view.totals.cuts == sum(bool(fact.output.cut) for fact in ends) >= 2
    assert done.view.tasks == len(ends) > 4 + planned[1].tasks + planned[2].tasks


def test_nothing_is_merged_first_where_no_key_is_too_large() -> None:
    done = check("distinct", CUT, ("int",), seed=7)

    assert merges(done) == 0
