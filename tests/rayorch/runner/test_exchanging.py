"""The author's code in operators: called in its own kind of frame, blamed for what it raises."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.api import Dataset
from rayorch.core.facts import AttemptFailed, AttemptFinished, StagePlanned
from rayorch.runner import exchanging
from rayorch.runner.batches import batch_bytes_of
from tests.rayorch.exchanges import Division, asked, keyed_table, outputs_of, rows_of, run_divided

DIVIDED = Division(splits=4, slots=2, task_bytes=256, copies=0.0)
ROWS = keyed_table(np.random.default_rng(0), "zipf", 400, ("int", "text"))


def with_arrow(rows: pa.Table) -> pa.Table:
    return rows.slice(0, 1).select(["k0", "id"])


def with_batch(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.slice(0, 1).select(["k0", "id"])


def with_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.head(1)[["k0", "id"]].astype({"k0": "Int64"})


def with_polars(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.head(1).select("k0", "id")


def with_duckdb(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return rows.limit(1).project("k0, id")


@pytest.mark.parametrize(
    "function", [with_arrow, with_batch, with_pandas, with_polars, with_duckdb]
)
def test_a_group_function_speaks_its_own_kind_of_frame(function: Callable[..., Any]) -> None:
    def built(left: Dataset) -> Mapping[str, Dataset]:
        return {"out": left.map_groups(function, by="k0", order="id", output="firsts")}

    found = outputs_of(built, {"left": ROWS}, DIVIDED)["out"]

    expected = asked("SELECT k0, min(id) FROM rows GROUP BY k0", rows=ROWS.select(["k0", "id"]))
    assert rows_of(found) == rows_of(expected)
    assert found.schema.types == [pa.int64(), pa.int64()]


class Texts(ro.Aggregate):
    """How many rows, and how many letters."""

    returns = pa.int64()

    def create(self) -> Any:
        return [0, 0]

    def update(self, state: Any, rows: pa.Table) -> Any:
        assert rows.column_names == ["s", "n"]
        return [state[0] + rows.num_rows, state[1] + sum(map(len, rows["s"].to_pylist()))]

    def merge(self, one: Any, other: Any) -> Any:
        return [one[0] + other[0], one[1] + other[1]]

    def finish(self, state: Any) -> object:
        return 1000 * state[0] + state[1]


class BrokenUpdate(Texts):
    def update(self, state: Any, rows: pa.Table) -> Any:
        raise KeyError("mine")


class BrokenMerge(Texts):
    def merge(self, one: Any, other: Any) -> Any:
        raise KeyError("mine")


class BrokenFinish(Texts):
    def finish(self, state: Any) -> object:
        raise KeyError("mine")


class LockedState(Texts):
    def update(self, state: Any, rows: pa.Table) -> Any:
        return (row for row in rows.to_pylist())


class OddValue(Texts):
    def finish(self, state: Any) -> object:
        return "a text"


def aggregated(own: ro.Aggregate, by: str) -> Callable[..., Mapping[str, Dataset]]:
    def built(left: Dataset) -> Mapping[str, Dataset]:
        keys = (by,) if by else ()
        return {"out": left.aggregate("summary", by=keys, texts=(["s", "n"], own), n=("n", "sum"))}

    return built


@pytest.mark.parametrize("by", ["k0", "k1", ""])
@pytest.mark.parametrize("passes", [1, 3])
def test_an_own_aggregate_stands_among_others(
    by: str, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when memory ran out before, and keys are worked part by part: no key is one part."""
    monkeypatch.setattr(
        exchanging, "batch_bytes_of", lambda memory: passes * batch_bytes_of(memory)
    )

    found = outputs_of(aggregated(Texts(), by), {"left": ROWS}, DIVIDED)["out"]

    made = "1000 * count(*) + sum(length(s))::BIGINT, sum(n)::BIGINT FROM rows"
    sql = f"SELECT {by}, {made} GROUP BY {by}" if by else f"SELECT {made}"
    expected = asked(sql, rows=ROWS.select(["k0", "k1", "s", "n"]))
    assert rows_of(found) == rows_of(expected)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        (BrokenUpdate, "mine"),
        (BrokenMerge, "mine"),
        (BrokenFinish, "mine"),
        (LockedState, "cannot travel: cannot pickle 'generator' object"),
        (OddValue, "returned what is no int64"),
    ],
)
def test_what_an_own_aggregate_does_wrong_fails_the_run_and_says_so(
    own: type[ro.Aggregate], says: str
) -> None:
    """At the first attempt: another would do the same."""
    done = run_divided(aggregated(own(), "k0"), {"left": ROWS}, DIVIDED)

    assert done.view.state == "failed"
    assert done.view.error is not None
    assert done.view.error.transform == "summary"
    assert says in done.view.error.message
    failed = [event.fact for event in done.events if isinstance(event.fact, AttemptFailed)]
    assert {fact.attempt for fact in failed} == {0}
    assert {fact.kind for fact in failed} == {"user" if says == "mine" else "refused"}


@pytest.mark.parametrize("skew", ["even", "half", "one", "distinct", "empty"])
def test_dedupe_before_the_exchange_keeps_the_first_of_the_input(skew: str) -> None:
    rows = keyed_table(np.random.default_rng(1), skew, 400)

    def built(left: Dataset) -> Mapping[str, Dataset]:
        return {"out": left.dedupe("firsts", by="k0", order="at", deterministic=True)}

    found = outputs_of(built, {"left": rows}, DIVIDED)["out"]

    sql = 'SELECT DISTINCT ON (k0) k0, id FROM rows ORDER BY "at", id'
    assert rows_of(found.select(["k0", "id"])) == rows_of(asked(sql, rows=rows))


def test_what_is_asked_for_of_an_exchange_is_in_the_record_as_foretold() -> None:
    """It is charged as what is read of files is. One runner has all tasks that read together."""

    def built(left: Dataset) -> Mapping[str, Dataset]:
        return {"out": left.aggregate("sums", by="k0", n=("n", "sum"))}

    done = run_divided(built, {"left": ROWS}, replace(DIVIDED, slots=1))

    facts = [event.fact for event in done.events]
    (planned,) = [fact for fact in facts if isinstance(fact, StagePlanned)]
    finished = [fact for fact in facts if isinstance(fact, AttemptFinished)]
    (note,) = [note for note in planned.notes if "ranges read" in note]
    written = sum(part.size_bytes for fact in finished for part in fact.output.parts)
    readers = [fact.output for fact in finished if not fact.output.parts]
    assert sum(output.gets for output in readers) == int(note.partition(" ")[0])
    assert 0 < sum(output.moved_bytes for output in readers) < written
