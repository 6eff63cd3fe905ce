"""Heavy keys are merged before the exchange also where merging all keys does not pay."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.store import open_store
from rayorch.exchange import PlanLimits, plan_exchange
from rayorch.operators import open_partial
from rayorch.relational import (
    AggregateCode,
    DedupeCode,
    HashKeys,
    Measure,
    OperatorCode,
    SortKey,
    keying_of,
)
from rayorch.runner.merging import Merging
from tests.rayorch.exchange.rows import written
from tests.rayorch.operators.oracle import MEMORY_BYTES, cut, kernel, result, rows_of, wanted

ROWS = 160_000
HOT_SHARES = (0.2, 0.01)


def skewed(seed: int) -> pa.Table:
    """Rows of keys that occur once, but for one key with a fifth of the rows and one with less."""
    random = np.random.default_rng(seed)
    keys = np.arange(ROWS) + 1_000
    drawn = random.random(ROWS)
    keys[drawn < sum(HOT_SHARES)] = 8
    keys[drawn < HOT_SHARES[0]] = 7
    return pa.table(
        {
            "k": keys,
            "id": random.permutation(ROWS),
            "tie": np.zeros(ROWS, dtype=np.int8),
            "n": random.integers(-50, 50, ROWS),
            "s": pa.array(random.choice(["", "x", "ö"], ROWS).tolist()),
        }
    )


def merging(code: OperatorCode, table: pa.Table) -> Merging:
    partial, keys = open_partial(code, table.schema, MEMORY_BYTES), keying_of(code)
    assert partial is not None
    assert isinstance(keys, HashKeys)
    return Merging(code, keys, table.schema, MEMORY_BYTES, partial)


def sent(code: OperatorCode, table: pa.Table, batch_rows: int) -> tuple[Merging, list[pa.Table]]:
    found = merging(code, table)
    leaving = [
        each
        for start in range(0, table.num_rows, batch_rows)
        for each in found.add(table.slice(start, batch_rows))
    ]
    return found, leaving + found.finish()


MEASURES = (
    Measure(name="total", column="n", function="sum"),
    Measure(name="rows", column="*", function="count_all"),
    Measure(name="head", column="s", function="first", order=(SortKey(column="id"),)),
    Measure(name="apart", column="n", function="count_distinct"),
)


@pytest.mark.parametrize("batch_rows", [9_001, 60_000, ROWS])
@pytest.mark.parametrize("seed", range(2))
def test_an_aggregate_of_heavy_and_lone_keys_is_right(
    seed: int, batch_rows: int, tmp_path: Path
) -> None:
    table = skewed(seed)
    code = AggregateCode(by=("k",), measures=MEASURES)

    found, states = sent(code, table, batch_rows)

    made = result(kernel(code, found.schema, spill=tmp_path, rows=table.schema), states)
    expected = wanted(
        """SELECT k, sum(n)::BIGINT AS total, count(*) AS "rows", arg_min(s, id) AS head,
                  count(DISTINCT n) AS apart FROM t GROUP BY k""",
        t=table,
    )
    assert rows_of(made) == rows_of(expected)
    assert found.rows_in == ROWS


def test_a_heavy_key_is_sent_once_and_the_others_as_they_are() -> None:
    table = skewed(0)
    code = AggregateCode(by=("k",), measures=MEASURES[:3])

    found, states = sent(code, table, 50_000)

    keys = pa.concat_tables(states)["key0"]
    # What came before it was known how rare the others are has left grouped, too.
    assert pc.sum(pc.equal(keys, 7)).as_py() <= 2
    assert len(keys) < ROWS * (1 - HOT_SHARES[0])
    assert not found.pays
    rows, states_sent = found.heavy_rows
    assert rows > 0.9 * HOT_SHARES[0] * (ROWS - 50_000)
    assert states_sent == 2


def test_of_equal_rows_the_first_stays_whenever_its_key_is_found_to_be_heavy(
    tmp_path: Path,
) -> None:
    """The key comes late, is heavy then, and rare in the end: heavy rows wait, rare ones do not."""
    table = skewed(3).sort_by([("id", "ascending")])
    ids = table["id"].to_numpy()
    comes = (ids >= 60_000) & ((ids < 100_000) | (ids % 50 == 0))
    table = table.filter(pa.array((table["k"].to_numpy() != 7) | comes))
    code = DedupeCode(by=("k",), order=(SortKey(column="tie"),))

    found, rows = sent(code, table, 8_000)

    made = result(kernel(code, table.schema, spill=tmp_path), rows)
    expected = wanted("SELECT DISTINCT ON (k) * FROM t ORDER BY id", t=table)
    assert rows_of(made) == rows_of(expected)
    assert found.heavy_rows[0] > found.heavy_rows[1]


def test_what_heavy_keys_do_not_shrink_to_is_sent_as_it_is(tmp_path: Path) -> None:
    """All values of the heavy key differ: to count them, each must be sent."""
    table = skewed(0)
    distinct = Measure(name="apart", column="id", function="count_distinct")
    code = AggregateCode(by=("k",), measures=(distinct,))

    found, states = sent(code, table, 40_000)

    made = result(kernel(code, found.schema, spill=tmp_path, rows=table.schema), states)
    expected = wanted("SELECT k, count(DISTINCT id) AS apart FROM t GROUP BY k", t=table)
    assert rows_of(made) == rows_of(expected)


@pytest.mark.parametrize("is_merged", [True, False])
def test_reduce_tasks_are_even_where_one_key_has_a_fifth_of_the_rows(
    is_merged: bool, tmp_path: Path
) -> None:
    """Of all rows, the task of that key would have more than twice the mean."""
    code = AggregateCode(by=("k",), measures=MEASURES[:2])
    found, states = sent(code, skewed(1), 8_000)
    opened = found if is_merged else merging(code, skewed(1))
    held = pa.concat_tables(states) if is_merged else all_states(opened, skewed(1))
    of_states = AggregateCode(by=held.column_names[:1], measures=())
    parts = written(open_store(str(tmp_path)), of_states, [[held]], buckets=1024)

    limits = PlanLimits(slots=8, target_bytes=held.nbytes // 8)
    plan = plan_exchange(of_states, parts, limits)

    assert (plan.slowest_over_mean < 1.2) == is_merged
    said = [str(reason) for reason in plan.reasons if reason.decision.endswith("not cut")]
    assert [note.partition(":")[0] for note in said] == ([] if is_merged else ["key 7 not cut"])


def all_states(found: Merging, table: pa.Table) -> pa.Table:
    """Return a state for each row."""
    plan = found._every.plan
    assert plan.rows_to_states is not None
    made = found._every._engines(plan.rows_to_states, [table], table.schema)
    return pa.concat_tables(made)


def test_rows_of_all_in_one_group_have_no_heavy_keys() -> None:
    table = skewed(0)
    found, states = sent(AggregateCode(by=(), measures=MEASURES[:2]), table, 50_000)
    assert sum(each.num_rows for each in states) <= len(cut(table, np.random.default_rng(0)))
    assert found.heavy_rows == (0, 0)
