"""What a placement is worth while its run goes: what is seen of it, and what is left to place."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import placement
from rayorch.core.placed import ClassSeen, Observed, unpack_classes
from rayorch.ids import RunId
from rayorch.plan.estimate import History
from rayorch.plan.placing import Task, first, follows, guarded, unsearched, wire
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import usable_pools
from rayorch.plan.seeing import OUT_S, look
from rayorch.plan.standing import Standing
from rayorch.spec.objective import Budget, Deadline, Objective
from tests.rayorch.plan.test_problem import plan_of

SUBMITTED_S = 1000.0
FILE = """
data_location: east
egress_usd_gb: {east: {west: 0.02}}
get_usd: 4.0e-7
pools:
  - {name: cheap, vcpu: 2, memory: 8 GiB, usd_h: 0.2, location: east, spot: {reclaims_per_h: 0.02}}
  - {name: calm, vcpu: 2, memory: 8 GiB, usd_h: 0.9, location: west}
"""
THERE = {"cheap": 8, "calm": 8}
SIZES = [100] * 30 + [800] * 10
WITHIN_10_MIN = Deadline(timedelta(minutes=10))


def task(objective: Objective | None = WITHIN_10_MIN, **changes: Any) -> Task:
    pools, _ = usable_pools(parse_pools(FILE, "pools.yaml"), THERE, "pools.yaml")
    return Task(
        run=RunId("r"),
        submitted_s=SUBMITTED_S,
        plan=plan_of(lines=SIZES),
        histories=[History("v", "lines")],
        pools=pools,
        objective=objective,
        **changes,
    )


def standing(**changes: Any) -> Standing:
    return first(task(**changes), SUBMITTED_S + 1.0)[0]


def observed(at_s: float, **changes: Any) -> Observed:
    return Observed(at_s=SUBMITTED_S + at_s, submitted_s=SUBMITTED_S, **changes)


def test_the_first_placement_says_all_that_the_core_follows() -> None:
    made, _ = first(task(), SUBMITTED_S + 1.0)

    ready = wire(made, is_final=False)

    assert ready.revision == 1
    assert sum(each.tasks for each in ready.classes) == len(SIZES)
    small, large = ready.classes
    numbers = list(unpack_classes(ready.class_of))
    assert numbers == [0] * 30 + [1] * 10
    assert large.expected_s[0] > 4.0 * small.expected_s[0] > 0.0
    # Machines that are there take no start-up: they are wanted now. Two runners fit on each.
    assert {each.at_s for each in ready.runners} == {SUBMITTED_S + 1.0}
    assert all(each.count % 2 == 0 for each in ready.runners)
    prices = {price.pool: price for price in ready.prices}
    assert prices["cheap"].usd_core_h == 0.1
    assert prices["calm"].egress_usd_gb == 0.02
    assert prices["calm"].get_usd == 4e-7
    assert ready.forecast.usd is not None
    assert (ready.is_final, ready.is_reviewed) == (False, True)


def test_what_is_as_planned_is_no_reason_to_plan_again() -> None:
    made = standing()
    classes = tuple(ClassSeen(name=each.name, done=3, timed=3, took=3.0) for each in made.classes)

    reasons, after, _ = look(made, observed(30.0, classes=classes, runners=(("cheap", 8),)), THERE)

    assert reasons == ()
    assert after is not None
    assert [each.count for each in after.classes] == [27, 7]
    assert after.held[0].pool == "cheap"
    assert after.held[0].count == 4


def test_tasks_that_take_twice_as_long_are_a_reason_and_change_what_is_left() -> None:
    made = standing()
    slow = ClassSeen(name=made.classes[1].name, done=9, timed=9, took=18.0)

    reasons, after, _ = look(made, observed(60.0, classes=(slow,)), THERE)

    assert any("2.00 times as long" in reason for reason in reasons)
    assert after is not None
    assert after.classes[1].work_s == 2.0 * made.classes[1].work_s


def test_a_pool_without_machines_is_gone_and_back_again() -> None:
    made = standing()

    reasons, after, made = look(made, observed(20.0), {"calm": 8})

    assert reasons[0] == "pool cheap is gone"
    assert after is not None
    _, safe = guarded(made, after)
    assert {after.pools[fleet.pool].name for fleet in safe.fleets} == {"calm"}
    made = follows(made, after, unsearched(after, safe), revision=2)
    assert {pools for each in made.placed.values() for pools in each.pools} == {"calm"}
    back, _, _ = look(made, observed(25.0), THERE)
    assert "pool cheap is back" in back


def test_a_pool_that_lost_its_runners_is_left_alone_before_anybody_knows_that_it_is_gone() -> None:
    """Ray takes many seconds to learn that a machine is dead, and would go on counting it."""
    _, _, made = look(standing(), observed(20.0, runners=(("cheap", 8),)), THERE)

    reasons, after, made = look(made, observed(25.0, lost=("cheap",)), THERE)

    assert "pool cheap is gone" in reasons
    assert after is not None
    made = follows(made, after, unsearched(after, guarded(made, after)[1]), revision=2)
    soon, _, made = look(made, observed(30.0), THERE)
    later, _, _ = look(made, observed(25.0 + OUT_S + 1.0), THERE)
    assert "pool cheap is back" not in soon
    assert "pool cheap is back" in later


def test_runners_that_have_not_come_yet_are_no_reason_to_leave_a_pool() -> None:
    """The first look comes before they have joined: all pools that are wanted look lost."""
    made = standing()

    reasons, after, _ = look(made, observed(1.1, lost=("cheap",)), THERE)

    assert reasons == ()
    assert after is not None
    assert sum(held.count for held in after.held) == sum(f.count for f in made.layout.fleets)


def test_what_is_done_is_counted_from_the_problem_that_a_placement_was_made_for() -> None:
    made = standing()
    name = made.classes[0].name
    _, after, made = look(made, observed(20.0, classes=(ClassSeen(name=name, done=10),)), THERE)
    assert after is not None
    made = follows(made, after, unsearched(after, guarded(made, after)[1]), revision=2)

    _, again, _ = look(made, observed(30.0, classes=(ClassSeen(name=name, done=14),)), THERE)

    assert again is not None
    assert again.classes[0].count == 16


def test_a_class_that_is_done_keeps_its_place_in_the_numbering() -> None:
    made = standing()
    done = ClassSeen(name=made.classes[0].name, done=30)

    _, after, made = look(made, observed(20.0, classes=(done,)), THERE)
    assert after is not None
    plan = unsearched(after, guarded(made, after)[1])
    ready = wire(follows(made, after, plan, revision=2))

    assert [each.name for each in ready.classes] == [each.name for each in made.classes]
    assert ready.classes[0].pools == made.placed[made.classes[0].name].pools


def test_all_done_leaves_nothing_to_place() -> None:
    made = standing()
    done = tuple(ClassSeen(name=each.name, done=each.count) for each in made.classes)

    assert look(made, observed(20.0, classes=done), THERE)[:2] == ((), None)


def test_more_running_than_are_left_is_no_error() -> None:
    """A task may run twice, and be committed by one of the two meanwhile."""
    made = standing()
    seen = ClassSeen(name=made.classes[1].name, done=9, running=(("cheap", 4),))

    _, after, _ = look(made, observed(20.0, classes=(seen,), runners=(("cheap", 8),)), THERE)

    assert after is not None
    assert [each.count for each in after.running] == [1]


def test_a_deadline_that_has_passed_makes_the_run_end_as_soon_as_it_can() -> None:
    made = standing()

    reasons, after, _ = look(made, observed(700.0), THERE)

    assert any("deadline has passed" in reason for reason in reasons)
    assert after is not None
    assert isinstance(after.objective, placement.Weighted)


def test_a_deadline_that_is_missed_for_sure_is_not_foretold_as_kept() -> None:
    """A run that ends as soon as it can misses nothing that it is asked for any more."""
    made = standing()
    _, after, made = look(made, observed(700.0), THERE)
    assert after is not None
    plan = placement.solve(after, time_limit_s=0.0)
    late = wire(follows(made, after, plan, 2))
    never = wire(first(task(Deadline(timedelta(seconds=2))), SUBMITTED_S + 1.0)[0])

    assert late.forecast is not None
    assert never.forecast is not None
    assert (late.forecast.hit, never.forecast.hit) == (0.0, 0.0)


def test_what_cannot_be_kept_is_told_and_the_run_goes_all_the_same() -> None:
    tight, _ = first(task(Deadline(timedelta(seconds=2))), SUBMITTED_S + 1.0)
    poor, _ = first(task(Budget(1e-6)), SUBMITTED_S + 1.0)

    assert any(note.startswith("not to be kept: no machine is fast") for note in tight.notes)
    assert any(note.startswith("not to be kept: the work costs more") for note in poor.notes)
    assert wire(tight).runners


def test_a_placement_that_is_made_again_leaves_out_what_is_committed() -> None:
    made, _ = first(task(done=range(30)), SUBMITTED_S + 50.0, revision=3)

    assert [each.count for each in made.problem.classes] == [10]
    assert made.problem.now_s == 50.0
    assert made.done == {made.classes[0].name: 30}


def test_a_placement_that_is_made_again_has_nothing_of_tasks_that_were_cut_later() -> None:
    """Those of stages behind an exchange, and the rests of tasks, are of no class."""
    made, _ = first(task(done=[*range(30), 40, 41]), SUBMITTED_S + 50.0, revision=3)

    assert made.done == {made.classes[0].name: 30}


def test_a_placement_that_is_made_again_when_all_is_committed_knows_that_nothing_is_left() -> None:
    """Stages that it has no classes of may be at work; no machines are wanted for the others."""
    made, _ = first(task(done=range(40)), SUBMITTED_S + 50.0, revision=3)
    counted = tuple(ClassSeen(each.name, done=each.count) for each in made.classes)

    assert look(made, observed(60.0, classes=counted), THERE)[:2] == ((), None)


def test_the_deadline_is_guarded_without_a_solver() -> None:
    """When the pool of a placement is down to one machine, machines on demand are added."""
    made = standing(objective=Deadline(timedelta(minutes=1)))
    fleets = tuple(replace(fleet, count=1) for fleet in made.layout.fleets[:1])
    made = replace(made, layout=replace(made.layout, fleets=fleets))
    _, after, made = look(made, observed(30.0, runners=(("cheap", 2),)), THERE)
    assert after is not None

    carried, safe = guarded(made, after)

    assert safe != carried
    wanted = placement.nodes_wanted(after, safe, 30.0)
    assert wanted["calm"] > 0
