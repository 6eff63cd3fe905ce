"""Each relational operator, from files to files, against one DuckDB query over whole tables."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.api import Dataset
from tests.rayorch.exchanges import (
    DIVISIONS,
    SKEWS,
    Division,
    asked,
    keyed_table,
    lines_of,
    outputs_of,
    rows_of,
    run_divided,
)
from tests.thinned import thinned

KINDS = (("int",), ("text", "float"), ("word", "money"), ("zoned", "flag"), ("day", "bytes"))
ROWS = 250


@dataclass(frozen=True, slots=True)
class Case:
    """An operator and the query that says the same of tables l and r, by some keys."""

    operate: Callable[[list[str], Dataset, Dataset], Dataset]
    sql: Callable[[list[str]], str]
    is_ordered: bool = False
    takes_two: bool = False


def keys(by: Sequence[str], side: str = "") -> str:
    return ", ".join(f"{side}{name}" for name in by)


def _aggregate(by: list[str], left: Dataset, _: Dataset) -> Dataset:
    return left.aggregate(
        "done",
        by=by,
        total=("n", "sum"),
        some=("n", "count"),
        rows=("*", "count"),
        typical=("x", "mean"),
        least=("s", "min"),
        most=("at", "max"),
        spread=("x", "var"),
        apart=("n", "std"),
        head=("s", "first", "id"),
        tail=("deep", "last", "id"),
        kinds=("s", "count_distinct"),
        money=("price", "sum"),
        price=("price", "mean"),
    )


def _aggregate_sql(by: list[str]) -> str:
    return f"""select {keys(by)}, sum(n)::bigint, count(n), count(*), avg(x), min(s), max("at"),
        var_samp(x), stddev_samp(n), first(s order by id), last(deep order by id),
        count(distinct s), sum(price), avg(price::double) from l group by {keys(by)}"""


def _join(how: Any) -> Case:
    def sql(by: list[str]) -> str:
        on = " and ".join(f"l.{name} = r.{name}" for name in by)
        if how in {"semi", "anti"}:
            return f"select l.* from l {how} join r on {on}"
        both = [f"coalesce(l.{name}, r.{name})" for name in by]
        mine = ", ".join(both) if how in {"right", "full"} else keys(by, "l.")
        rest = 'l.id, l.n, l.x, l.s, l."at", l.deep, l.price'
        theirs = 'r.id, r.n, r.x, r.s, r."at", r.deep, r.price'
        return f"select {mine}, {rest}, {theirs} from l {how} join r on {on}"

    return Case(lambda by, t, r: t.join("done", r, on=by, how=how), sql, takes_two=True)


def _asof(direction: Any, *, is_keyed: bool) -> Case:
    sign, arrival = {"backward": (">=", "desc"), "forward": ("<=", "asc")}[direction]

    def sql(by: list[str]) -> str:
        equal = "".join(f"l.{name} = r.{name} and " for name in by) if is_keyed else ""
        part = keys([*by, '"at"']) if is_keyed else '"at"'
        theirs = [*(() if is_keyed else by), "id", "n", "x", "s", '"at"', "deep", "price"]
        return f"""select l.*, {keys(theirs, "r.")} from l asof left join (select * from r
            qualify row_number() over (partition by {part} order by id {arrival}) = 1) r
            on {equal} l."at" {sign} r."at" """

    def operate(by: list[str], left: Dataset, right: Dataset) -> Dataset:
        own = by if is_keyed else None
        return left.join_asof("done", right, on="at", by=own, direction=direction)

    return Case(operate, sql, takes_two=True)


def _sort(*, descending: bool, nulls_first: bool) -> Case:
    how = f"{'desc' if descending else 'asc'} nulls {'first' if nulls_first else 'last'}"

    def operate(by: list[str], left: Dataset, _: Dataset) -> Dataset:
        return left.sort("done", [*by, "id"], descending=descending, nulls_first=nulls_first)

    return Case(
        operate,
        lambda by: f"select * from l order by {', '.join(f'{c} {how}' for c in [*by, 'id'])}",
        is_ordered=True,
    )


def _repartition(operate: Callable[[list[str], Dataset], Dataset]) -> Case:
    return Case(lambda by, t, _: operate(by, t), lambda _: "select * from l")


def _window(by: list[str], left: Dataset, _: Dataset) -> Dataset:
    return left.window(
        "done",
        by=by,
        order="id",
        number="row_number",
        place="rank",
        dense="dense_rank",
        before=("s", "lag", 2, "none"),
        after=("n", "lead"),
        total=("n", "sum"),
        typical=("x", "mean"),
        least=("price", "min"),
        most=("at", "max"),
        some=("n", "count"),
        head=("s", "first"),
        tail=("deep", "last"),
    )


def _window_sql(by: list[str]) -> str:
    return f"""select *, row_number() over w, rank() over w, dense_rank() over w,
        lag(s, 2, 'none') over w, lead(n) over w, (sum(n) over w)::bigint, avg(x) over w,
        min(price) over w, max("at") over w, count(n) over w, first(s) over w, last(deep) over w
        from l window w as (partition by {keys(by)} order by id)"""


def _grouped(by: list[str], left: Dataset, _: Dataset) -> Dataset:
    def summed(rows: pa.Table) -> pa.Table:
        """Return the keys of the group, and what its rows come to."""
        head = rows.slice(0, 1).select(by)
        total = pa.array([pc.sum(rows["n"]).as_py()], pa.int64())
        last = rows["id"].slice(max(rows.num_rows - 1, 0))
        total = total.slice(0, head.num_rows)
        return head.append_column("total", total).append_column("last", last)

    return left.map_groups(summed, by=by, order="id")


class Total(ro.Aggregate):
    """The sum of a column, as an author would write it."""

    returns = pa.int64()

    def create(self) -> int:
        return 0

    def update(self, state: int, rows: pa.Table) -> int:
        return state + (pc.sum(rows.column(0)).as_py() or 0)

    def merge(self, one: int, other: int) -> int:
        return one + other

    def finish(self, state: int) -> int:
        return state


def _owned(by: list[str], left: Dataset, _: Dataset) -> Dataset:
    return left.aggregate("done", by=by, own=("n", Total()), rows=("*", "count"))


CASES: dict[str, Case] = {
    "aggregate": Case(_aggregate, _aggregate_sql),
    "own aggregate": Case(
        _owned,
        lambda by: f"select {keys(by)}, coalesce(sum(n), 0)::bigint, count(*) from l group by all",
    ),
    "map_groups": Case(
        _grouped, lambda by: f"select {keys(by)}, sum(n)::bigint, max(id) from l group by all"
    ),
    **{f"{how} join": _join(how) for how in ("inner", "left", "right", "full", "semi", "anti")},
    **{
        f"as-of {direction} {'by key' if is_keyed else 'alone'}": _asof(
            direction, is_keyed=is_keyed
        )
        for direction in ("backward", "forward")
        for is_keyed in (True, False)
    },
    **{
        f"sort {'down' if down else 'up'}{' nulls first' if first else ''}": _sort(
            descending=down, nulls_first=first
        )
        for down in (False, True)
        for first in (False, True)
    },
    "dedupe": Case(
        lambda by, t, _: t.dedupe("done", by, order=["at", "id"], descending=[True, False]),
        lambda by: f'select distinct on ({keys(by)}) * from l order by "at" desc nulls last, id',
    ),
    "dedupe all": Case(
        lambda by, t, _: t.select([*by, "s"]).dedupe("done"),
        lambda by: f"select distinct {keys(by)}, s from l",
    ),
    "repartition by key": _repartition(lambda by, t: t.repartition("done", by)),
    "repartition by range": _repartition(
        lambda by, t: t.repartition("done", by, ranges=True, parts=5)
    ),
    "repartition by size": _repartition(lambda _, t: t.repartition("done", size=4000)),
    "window": Case(_window, _window_sql),
}


def check(name: str, skew: str, division: Division, seed: int) -> None:
    """Run one case on generated rows, and compare it with its query."""
    case = CASES[name]
    random = np.random.default_rng(seed)
    kinds = KINDS[int(random.integers(len(KINDS)))]
    by = [f"k{at}" for at in range(len(kinds))]
    tables = {"l": keyed_table(random, skew, ROWS, kinds)}
    if case.takes_two:
        tables["r"] = keyed_table(random, "even", 60, kinds)
        if random.random() < 0.4:
            tables = {"l": tables["r"], "r": tables["l"]}

    def build(l: Dataset, r: Dataset | None = None) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": case.operate(by, l, l if r is None else r)}

    found = outputs_of(build, tables, division)["out"]

    expected = asked(case.sql(by), **tables)
    listed = lines_of if case.is_ordered else rows_of
    assert listed(found) == listed(expected), (name, skew, division, kinds)


@pytest.mark.parametrize(
    ("name", "skew", "division"),
    [
        (name, skew, DIVISIONS[number // 3 % len(DIVISIONS)])
        for number, (name, skew) in enumerate(itertools.product(CASES, SKEWS))
        if number % 3 == 0  # The others, and all divisions of each, are tested by `make slow`.
    ],
    ids=lambda value: "" if isinstance(value, Division) else str(value),
)
def test_an_operator_equals_its_query(name: str, skew: str, division: Division) -> None:
    check(name, skew, division, seed=len(name) * len(skew))


def _approximate(by: list[str], left: Dataset, _: Dataset) -> Dataset:
    return left.aggregate(
        "done",
        by=by,
        kinds=("id", "approx_count_distinct"),
        middle=("n", "approx_quantile", 0.5),
        high=("x", "approx_quantile", 0.9),
    )


def _nearest(by: list[str], left: Dataset, right: Dataset) -> Dataset:
    # Of rows of one time any is nearest: only what these share may be compared.
    states = right.select(["k0", "at"], output="states")
    within = timedelta(seconds=3)
    return left.join_asof(
        "done", states, on="at", by=by, direction="nearest", tolerance=within
    ).select(["id", "k0", "at", "at_right"], output="chosen")


NO_QUERY = {"approximate": _approximate, "as-of nearest": _nearest}


@pytest.mark.parametrize(
    ("name", "skew"), thinned([(name, skew) for name in NO_QUERY for skew in SKEWS], 5, values=2)
)
def test_what_no_query_says_does_not_depend_on_the_division(name: str, skew: str) -> None:
    random = np.random.default_rng(len(skew))
    tables = {"l": keyed_table(random, skew, ROWS)}
    if name != "approximate":
        tables["r"] = keyed_table(random, "even", 60)

    def build(l: Dataset, r: Dataset | None = None) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": NO_QUERY[name](["k0"], l, l if r is None else r)}

    whole, *others = (outputs_of(build, tables, division)["out"] for division in DIVISIONS)

    assert (whole.num_rows > 0) == (skew != "empty")
    for other in others:
        assert rows_of(other) == rows_of(whole), (name, skew)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES)
def test_an_operator_equals_its_query_however_it_is_divided(name: str, seed: int) -> None:
    for skew, division in itertools.product(SKEWS, DIVISIONS):
        check(name, skew, division, seed)


@pytest.mark.parametrize(
    "name",
    # Two of them always: a total without keys, and an aggregate with.
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in [*CASES][1:]),
        next(iter(CASES)),
        "all rows",
    ],
)
def test_a_task_that_ran_out_of_memory_does_less_at_once_and_the_same(
    name: str, tmp_path: Path
) -> None:
    """Protection: the lease says how often memory ran out, and the operator takes parts of keys."""
    case = CASES.get(name, Case(_counted, lambda _: "select count(*), sum(n)::bigint from l"))
    by = ["k0"]
    random = np.random.default_rng(5)
    tables = {"l": keyed_table(random, "half", ROWS, ("text",))}
    if case.takes_two:
        tables["r"] = keyed_table(random, "even", 60, ("text",))

    def hungry(rows: pa.Table) -> pa.Table:
        # The first two attempts that come here die of it, whichever task they are of.
        for number in range(2):
            try:
                (tmp_path / f"died-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            raise MemoryError("cannot allocate 1 GiB")
        return rows

    def build(l: Dataset, r: Dataset | None = None) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": case.operate(by, l, l if r is None else r).map(hungry, output="hungry")}

    retry = ro.RetryPolicy(backoff_s=0.01)
    done = run_divided(build, tables, Division(splits=2), retry=retry)

    assert done.view.state == "succeeded", done.view.error
    assert done.view.totals.failures == {"oom": 2}
    listed = lines_of if case.is_ordered else rows_of
    assert listed(done.outputs["out"]) == listed(asked(case.sql(by), **tables))


def _counted(_: list[str], left: Dataset, __: Dataset) -> Dataset:
    return left.aggregate("done", rows=("*", "count"), total=("n", "sum"))
