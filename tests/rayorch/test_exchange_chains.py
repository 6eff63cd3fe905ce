"""Relational operators one after the other, and beside what else a pipeline does."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.api import Dataset
from rayorch.core.facts import StagePlanned
from tests.rayorch.exchanges import (
    DIVISIONS,
    Division,
    asked,
    keyed_table,
    lines_of,
    outputs_of,
    registered,
    rows_of,
    run_divided,
)

DIVIDED = DIVISIONS[2]
HOWS = ("inner", "left", "right", "full", "semi", "anti")


def tables(skew: str = "half", rows: int = 500) -> dict[str, pa.Table]:
    random = np.random.default_rng(3)
    right = keyed_table(random, "even", 80, ("text", "int")).select(["k0", "k1", "n"])
    return {
        "l": keyed_table(random, skew, rows, ("text", "int")),
        "r": right.rename_columns(["k0", "k1", "m"]),
    }


@pytest.mark.parametrize(
    ("keys", "decision"),
    [(100, "rows of one key merged before the exchange"), (60_000, "rows sent as they are")],
)
def test_what_merging_before_an_exchange_came_to_is_said(keys: int, decision: str) -> None:
    table = pa.table({"k": np.arange(60_000) % keys, "n": np.arange(60_000)})

    def build(t: Dataset) -> Mapping[str, Dataset]:
        return {"out": t.aggregate("sums", by="k", total=("n", "sum"))}

    done = run_divided(build, {"t": table})

    planned = next(event.fact for event in done.events if isinstance(event.fact, StagePlanned))
    note = next(note for note in planned.notes if note.startswith(decision))
    assert f"(rows=60000, sent={keys}, share={round(keys / 60_000, 3):g}" in note
    assert done.outputs["out"].num_rows == keys


@pytest.mark.parametrize("division", DIVISIONS, ids=lambda division: f"{division.slots} slots")
def test_a_join_an_aggregate_and_a_sort_follow_each_other(division: Division) -> None:
    given = tables()

    def build(l: Dataset, r: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        joined = l.join("joined", r, on="k0")
        totals = joined.aggregate("totals", by="k1", total=("m", "sum"), rows=("*", "count"))
        return {"out": totals.sort("sorted", ["total", "k1"], descending=[True, False])}

    found = outputs_of(build, given, division)["out"]

    expected = asked(
        """select l.k1, sum(m)::bigint as total, count(*) from l join r on l.k0 = r.k0
        group by 1 order by total desc nulls last, k1 nulls last""",
        **given,
    )
    assert lines_of(found) == lines_of(expected)


def test_a_dataset_may_be_both_sides_of_a_join() -> None:
    given = {"l": tables()["l"]}

    def build(l: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": l.join("paired", l, left_on="id", right_on="n")}

    found = outputs_of(build, given, DIVIDED)["out"]

    expected = asked(
        """select l.*, r.* exclude (n) from l join l r on l.id = r.n""",
        **given,
    )
    assert rows_of(found) == rows_of(expected)
    assert next(n for n in found.column_names if n.endswith("_right")) == "k0_right"


def test_a_union_may_feed_a_side() -> None:
    given = tables()

    def build(l: Dataset, r: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        both = l.union("both", l.filter("n > 0"))
        return {"out": both.join("joined", r, on="k0", how="left")}

    found = outputs_of(build, given, DIVIDED)["out"]

    expected = asked(
        """with u as (select * from l union all select * from l where n > 0)
        select u.*, r.k1, r.m from u left join r on u.k0 = r.k0""",
        **given,
    )
    assert rows_of(found) == rows_of(expected)


def test_inputs_of_a_union_may_have_their_columns_in_any_order() -> None:
    """Partial states are made of each input for itself, and must merge."""
    given = tables()

    def build(l: Dataset, r: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        ours = l.select(["k0", "n"])
        theirs = r.select({"n": pc.field("m"), "k0": pc.field("k0")})
        return {"out": ours.union("both", theirs).aggregate("totals", by="k0", n=("n", "sum"))}

    found = outputs_of(build, given, DIVIDED)["out"]

    expected = asked(
        """select k0, sum(n)::bigint from
        (select k0, n from l union all select k0, m from r) group by 1""",
        **given,
    )
    assert rows_of(found) == rows_of(expected)


def test_several_operators_and_a_sink_may_take_one_dataset() -> None:
    given = {"l": tables()["l"]}

    def build(l: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        kept = l.filter("n is not null")
        totals = kept.aggregate("totals", by="k1", n=("n", "sum"))
        return {
            "kept": kept,
            "totals": totals,
            "sorted": kept.sort("sorted", "id"),
            "known": l.join("known", totals, on="k1", how="anti"),
        }

    found = outputs_of(build, given, DIVIDED)

    expected = {
        "kept": "select * from l where n is not null",
        "totals": "select k1, sum(n)::bigint from l where n is not null group by 1",
        "sorted": "select * from l where n is not null order by id",
        "known": "select * from l anti join (select k1 from l where n is not null) t using (k1)",
    }
    for name, query in expected.items():
        assert rows_of(found[name]) == rows_of(asked(query, **given)), name
    assert lines_of(found["sorted"]) == lines_of(asked(expected["sorted"], **given))


def test_steps_may_stand_before_and_after_an_operator() -> None:
    given = {"l": tables()["l"]}

    def build(l: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        doubled = l.sql("doubled", "select k0, n * 2 as n2 from input where n is not null")
        totals = doubled.aggregate("totals", by="k0", total=("n2", "sum")).filter("total > 10")
        named = totals.select({"key": pc.field("k0"), "t": pc.add(pc.field("total"), 1)})
        return {"out": named.sql("done", "select *, t + 1 as u from input")}

    found = outputs_of(build, given, DIVIDED)["out"]

    expected = asked(
        """select k0, sum(n * 2)::bigint + 1, sum(n * 2)::bigint + 2 from l where n is not null
        group by 1 having sum(n * 2) > 10""",
        **given,
    )
    assert rows_of(found) == rows_of(expected)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("side", ["l", "r"])
def test_a_side_of_a_join_may_be_empty(how: Any, side: str) -> None:
    given = tables()
    given[side] = given[side].slice(0, 0)

    def build(l: Dataset, r: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": l.join("joined", r, on="k0", how=how)}

    found = outputs_of(build, given, DIVIDED)["out"]

    key = "coalesce(l.k0, r.k0)" if how in {"right", "full"} else "l.k0"
    taken = "l.*" if how in {"semi", "anti"} else f"l.* replace ({key} as k0), r.k1, r.m"
    expected = asked(f"select {taken} from l {how} join r on l.k0 = r.k0", **given)
    assert rows_of(found) == rows_of(expected)
    assert found.num_columns == expected.num_columns


def test_no_row_at_all_still_has_columns_and_totals() -> None:
    given = {"l": tables()["l"]}

    def build(l: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        none = l.filter("id < 0")
        return {
            "by_key": none.aggregate("by_key", by="k0", n=("n", "sum")),
            "all": none.aggregate("all", n=("n", "sum"), rows=("*", "count")),
            "groups": none.map_groups(first_rows, by="k0"),
        }

    found = outputs_of(build, given, DIVIDED)

    assert found["by_key"].num_rows == 0
    assert found["by_key"].column_names == ["k0", "n"]
    assert found["all"].to_pylist() == [{"n": None, "rows": 0}]
    assert found["groups"].column_names[:2] == ["k0", "k1"]


def first_rows(rows: pa.Table) -> pa.Table:
    return rows.slice(0, 1)


def test_a_group_function_may_take_pandas_and_meet_null_keys() -> None:
    """Of a group whose key is null, pandas makes floats of whatever type: they are nulls again."""
    given = {"l": tables()["l"]}
    declared = pa.schema([("k0", pa.string()), ("rows", pa.int64())])

    def counted(rows: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"k0": [rows["k0"].iloc[0]], "rows": [len(rows)]})

    def build(l: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": l.map_groups(counted, by="k0", schema=declared)}

    found = outputs_of(build, given, DIVIDED)["out"]

    assert rows_of(found) == rows_of(asked("select k0, count(*) from l group by 1", **given))
    assert found.schema.equals(declared)


# --- bits -----------------------------------------------------------------------------------------


def _floats() -> pa.Table:
    random = np.random.default_rng(7)
    values = random.normal(size=900) * 10.0 ** random.integers(-12, 12, 900)
    return pa.table(
        {"k": random.integers(0, 5, 900), "x": values, "id": np.arange(900), "t": [1] * 900}
    )


EXACT: dict[str, Callable[[Dataset], Dataset]] = {
    "aggregate": lambda t: t.aggregate(
        "done",
        by="k",
        deterministic=True,
        total=("x", "sum"),
        typical=("x", "mean"),
        spread=("x", "std"),
    ),
    "sort": lambda t: t.sort("done", "t", deterministic=True),
    "dedupe": lambda t: t.dedupe("done", "k", order="t", deterministic=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXACT)
def test_deterministic_results_have_the_same_bits_however_they_are_divided(kind: str) -> None:
    found = [
        outputs_of(lambda t: {"out": EXACT[kind](t)}, {"t": _floats()}, division)["out"]
        for division in (*DIVISIONS, Division(splits=7, slots=2, task_bytes=512, heavy_rows=3))
    ]

    tables_ = [t if kind == "sort" else t.sort_by("k") for t in found]
    bits = [[column.combine_chunks().to_pylist() for column in t.columns] for t in tables_]
    assert all(each == bits[0] for each in bits)


def test_sums_of_floats_do_differ_in_their_last_bits_otherwise() -> None:
    """What `deterministic` is for: if this fails, the test above shows nothing."""

    def build(t: Dataset) -> Mapping[str, Dataset]:
        return {"out": t.aggregate("done", by="k", total=("x", "sum"))}

    found = [
        outputs_of(build, {"t": _floats()}, division)["out"].sort_by("k")["total"].to_pylist()
        for division in (*DIVISIONS, Division(splits=7, slots=2, task_bytes=512, heavy_rows=3))
    ]

    assert len({tuple(each) for each in found}) > 1


# --- sinks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "delta"])
@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_results_are_written_by_partition_replaced_or_appended(
    tmp_path: Path, form: Any, mode: Any
) -> None:
    given = tables()["l"]
    out = str(tmp_path / "out")

    for _ in range(2):
        with registered({"l": given}) as urls:
            pipeline = ro.Pipeline("written")
            rows = pipeline.read("l", urls["l"], options={"splits": 3})
            totals = rows.filter("k1 is not null").aggregate(
                "totals", by=["k1", "s"], n=("n", "sum")
            )
            totals.write(out, format=form, mode=mode, partition_by=["k1"])
            ro.run(pipeline, home=str(tmp_path / "home"), executor="in-process")

    once = asked(
        "select s, sum(n)::bigint as n, k1 from l where k1 is not null group by k1, s", l=given
    )
    found = ro.read(out).to_table().select(["s", "n", "k1"])
    times = 2 if mode == "append" else 1
    assert rows_of(found) == sorted(rows_of(once) * times)
