"""Joins whose large side is read where it is joined, and those where the guess was wrong."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from connectors.stores.memory import MemoryStore
from rayorch.api import Dataset
from rayorch.core.facts import AttemptFinished, PlanReady, StagePlanned
from rayorch.ids import new_nonce
from rayorch.plan.waiting import sides_that_may_stay
from rayorch.relational import AggregateCode, AsofCode, JoinCode, JoinHow
from tests.rayorch.exchanges import Division, Done, asked, keyed_table, rows_of, run_divided
from tests.rayorch.test_exchange_faults import commits, delete, failures, file_of, hurting

DIRECT = Division(splits=4, slots=2, task_bytes=64, direct=0.5)
LARGE, SMALL = 0, 1  # the stages; 2 joins them
FACTS = keyed_table(np.random.default_rng(3), "half", 3000).select(["k0", "id", "n"])
NAMES = pa.table({"k0": pa.array(range(40)), "name": [f"name {n}" for n in range(40)]})
JOINED = "select k0, id, n, name from facts join names using (k0)"


def joined(facts: Dataset, names: Dataset) -> Mapping[str, Dataset]:
    kept = facts.filter("n >= -40 or n is null").select(["k0", "id", "n"], output="kept")
    return {"out": kept.join("joined", names, on="k0")}


def wanted(facts: pa.Table = FACTS, names: pa.Table = NAMES) -> pa.Table:
    return asked(f"{JOINED} where n >= -40 or n is null", facts=facts, names=names)


def planned(done: Done) -> dict[int, StagePlanned]:
    """Return how each stage was planned last."""
    facts = [event.fact for event in done.events if isinstance(event.fact, StagePlanned)]
    return {fact.stage: fact for fact in facts}


def senders(done: Done) -> set[int]:
    """Return the sides that went through an exchange."""
    outputs = [e.fact.output for e in done.events if isinstance(e.fact, AttemptFinished)]
    return {part.side for output in outputs for part in output.parts}


def test_the_large_side_is_read_where_it_is_joined() -> None:
    done = run_divided(joined, {"facts": FACTS, "names": NAMES}, DIRECT)

    assert rows_of(done.outputs["out"]) == rows_of(wanted())
    (ready,) = (event.fact for event in done.events if isinstance(event.fact, PlanReady))
    assert (ready.task_counts, ready.waits) == ((0, 4, 0), {LARGE: (SMALL,)})
    assert senders(done) == {1}
    stages = planned(done)
    assert (stages[LARGE].tasks, stages[2].tasks) == (0, 4)
    assert stages[LARGE].notes[0].startswith("left is read where it is joined: right was measured")
    assert not done.left


@pytest.mark.parametrize("how", ["left", "semi", "anti", "inner", "full"])
def test_what_has_no_match_is_there_once_or_not_at_all(how: JoinHow) -> None:
    def built(facts: Dataset, names: Dataset) -> Mapping[str, Dataset]:
        return {"out": facts.join("joined", names, on="k0", how=how)}

    names = NAMES.slice(0, 5)
    done = run_divided(built, {"facts": FACTS, "names": names}, DIRECT)

    by = "l.k0 is not distinct from r.k0 and l.k0 is not null"
    taken = "l.*" if how in {"semi", "anti"} else "coalesce(l.k0, r.k0), l.id, l.n, r.name"
    sql = f"select {taken} from facts l {how} join names r on {by}"  # noqa: S608 - our own words.
    assert rows_of(done.outputs["out"]) == rows_of(asked(sql, facts=FACTS, names=names))
    assert senders(done) == ({0, 1} if how == "full" else {1})


def doubled(names: pa.Table) -> pa.Table:
    """Make of a few rows more than the facts have."""
    return pa.concat_tables([names] * 200)


def test_a_side_that_is_measured_to_be_large_after_all_sends_the_other_through_the_exchange() -> (
    None
):
    def built(facts: Dataset, names: Dataset) -> Mapping[str, Dataset]:
        return joined(facts, names.map(doubled, output="many"))

    done = run_divided(built, {"facts": FACTS, "names": NAMES}, DIRECT)

    assert rows_of(done.outputs["out"]) == rows_of(wanted(names=doubled(NAMES)))
    assert senders(done) == {0, 1}
    assert planned(done)[LARGE].tasks == 4
    assert "copies of the other side cost more" in planned(done)[LARGE].notes[0]


def test_a_side_that_others_read_as_well_does_not_wait() -> None:
    def built(facts: Dataset, names: Dataset) -> Mapping[str, Dataset]:
        return {**joined(facts, names), "all": facts}

    done = run_divided(built, {"facts": FACTS, "names": NAMES}, DIRECT)

    (ready,) = (event.fact for event in done.events if isinstance(event.fact, PlanReady))
    assert not ready.waits
    assert rows_of(done.outputs["out"]) == rows_of(wanted())


def passed(facts: pa.Table) -> pa.Table:
    return facts


def test_a_side_whose_columns_nobody_knows_before_does_not_wait() -> None:
    def built(facts: Dataset, names: Dataset) -> Mapping[str, Dataset]:
        return joined(facts.map(passed, output="passed"), names)

    done = run_divided(built, {"facts": FACTS, "names": NAMES}, DIRECT)

    assert senders(done) == {0, 1}
    assert rows_of(done.outputs["out"]) == rows_of(wanted())


def test_a_lost_file_of_the_small_side_is_made_again_and_the_division_stays() -> None:
    """Protection: the stage that waited was decided upon once; its readers are planned again."""
    store = MemoryStore(new_nonce())
    victim = 2  # of the small side: the large one has no task

    def once(revision: str) -> None:
        if revision == "1":
            delete(store, file_of(store, victim))

    tables = {"facts": FACTS, "names": NAMES}
    done = run_divided(joined, tables, DIRECT, store=hurting(store, once))

    assert done.view.state == "succeeded", done.view.error
    assert rows_of(done.outputs["out"]) == rows_of(wanted())
    assert commits(done).pop(victim) == 2
    assert set(failures(done)) == {"upstream"}
    assert planned(done)[LARGE].revision == 1
    assert planned(done)[2].revision > 1
    assert not done.left


def test_only_rows_that_need_no_others_of_their_side_may_stay_out_of_an_exchange() -> None:
    """An unmatched row of a full join is found by who sees all of the other side's keys."""

    def sides(how: JoinHow) -> tuple[int, ...]:
        return sides_that_may_stay(JoinCode(how=how, left_on=("k",), right_on=("k",)))

    assert sides("inner") == (0, 1)
    assert sides("left") == sides("semi") == sides("anti") == (0,)
    assert sides("right") == (1,)
    assert sides("full") == ()
    assert sides_that_may_stay(AsofCode(left_on="k", right_on="k")) == (0,)
    assert sides_that_may_stay(AggregateCode(by=("k",), measures=())) == ()
