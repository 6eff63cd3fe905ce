"""Needs of stages on unlike pools: which pools are used, what is wanted there, what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import placement
from rayorch.core.facts import PlacementKept, PlacementReady
from rayorch.core.placed import ClassSeen, Observed, RunnersWanted
from rayorch.core.sizes import Size
from rayorch.errors import NoMachineError
from rayorch.ids import RunId
from rayorch.plan.estimate import History
from rayorch.plan.needs import check_needs
from rayorch.plan.placing import Task, first, follows, moved, wire
from rayorch.plan.planner import Plan
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import PoolsSpec, usable_pools
from rayorch.plan.seeing import look, patience_of
from rayorch.plan.standing import Standing
from rayorch.program import StageResources
from rayorch.spec.objective import Deadline, Objective, Weighted
from tests.rayorch.plan.test_problem import plan_of
from tests.rayorch.runner import make

GIB = 1 << 30
CHEAPEST = Weighted(0.0)
# The one with the GPU is a hundred times cheaper.
FILE = """
pools:
  - {name: plain, vcpu: 4, memory: 16 GiB, usd_h: 1.0}
  - {name: devices, vcpu: 4, memory: 16 GiB, usd_h: 0.01, gpus: 2}
"""
POOLS = parse_pools(FILE, "pools.yaml")
THERE = {"plain": 4, "devices": 4}


def sized(plan: Plan, **needs: dict[str, Any]) -> Plan:
    """A plan whose stages have these needs."""
    changed = msgspec.structs.replace
    stages = tuple(changed(stage, **needs.get(stage.name, {})) for stage in plan.stages)
    return changed(plan, stages=stages)


def begun(
    plan: Plan,
    pools: PoolsSpec,
    objective: Objective = CHEAPEST,
    elastic: dict[str, int] | None = None,
) -> tuple[Standing, placement.Plan]:
    task = Task(
        run=RunId("r"),
        submitted_s=0.0,
        plan=plan,
        histories=[History("v", stage.name) for stage in plan.stages],
        pools=pools,
        objective=objective,
        elastic=elastic,
    )
    return first(task, 1.0)


def placed(plan: Plan, there: dict[str, int] | None = None) -> Any:
    pools, _ = usable_pools(POOLS, there or THERE, "pools.yaml")
    standing, found = begun(plan, pools)
    return standing, found, wire(standing)


def test_a_gpu_pool_however_cheap_is_for_what_needs_a_gpu() -> None:
    plan = sized(plan_of(lines=[500] * 8, scores=[500] * 8), scores={"gpus": 1.0})

    standing, found, ready = placed(plan)

    assert {each.name: each.pools for each in ready.classes} == {
        "lines": ("plain",),
        "scores": ("devices",),
    }
    (lines, _) = placement.explain(standing.problem, found.layout)
    (spared,) = [each for each in lines.options if each.pool == "devices"]
    assert spared.reason == "has GPUs, which are kept for what needs them"


def test_a_gpu_pool_serves_all_where_there_is_no_other() -> None:
    _, _, ready = placed(plan_of(lines=[500] * 8), {"devices": 4})

    assert [each.pools for each in ready.classes] == [("devices",)]


def test_runners_are_wanted_in_the_size_of_each_stage_as_many_as_its_pool_holds() -> None:
    plan = sized(
        plan_of(lines=[500] * 8, scores=[500] * 8),
        lines={"memory_bytes": 8 * GIB, "cores": 1.0},
        scores={"gpus": 1.0, "cores": 1.0, "memory_bytes": GIB},
    )

    _, _, ready = placed(plan)

    assert set(ready.runners) == {
        RunnersWanted("plain", 0.0 + ready.runners[0].at_s, 2, 0, 1.0, 8 * GIB, 0.0),
        RunnersWanted("devices", 0.0 + ready.runners[0].at_s, 2, 0, 1.0, GIB, 1.0),
    }


def test_a_stage_behind_an_exchange_has_runners_of_its_own_before_it_is_measured() -> None:
    plan = sized(plan_of(lines=[500] * 8, scores=[]), scores={"gpus": 0.5})

    _, _, ready = placed(plan)

    assert [(each.pool, each.gpus, each.count) for each in ready.runners] == [
        ("plain", 0.0, 4),
        ("devices", 0.5, 4),
    ]


def test_pools_with_gpus_can_be_asked_for_by_who_needs_some() -> None:
    pools, missing = usable_pools(POOLS, {}, "pools.yaml", autoscale=True, with_gpus=True)

    assert [pool.name for pool in pools.pools] == ["plain", "devices"]
    assert missing == ()


def refused(needs: StageResources, machines: Mapping[str, tuple[Size, ...]]) -> str:
    program = make.program_of(replace(make.stage("lines"), resources=needs), ["file:///out"])
    with pytest.raises(NoMachineError) as caught:
        check_needs(program, machines)
    return str(caught.value)


def test_what_no_machine_could_ever_hold_is_refused_with_what_there_is() -> None:
    machines = {"plain": (Size(4.0, 16 * GIB),), "small": (Size(1.0, 2 * GIB),) * 3}

    needs = StageResources(cores=1.0, memory_bytes=GIB, gpus=1.0)
    assert refused(needs, machines) == (
        "no machine holds a task of stage 'lines'. it needs 1 core, 1 GiB and 1 GPU; "
        "plain has 4 cores, 16 GiB and no GPU, small has 1 core, 2 GiB and no GPU"
    )
    needs = StageResources(cores=2.0, memory_bytes=32 * GIB)
    assert "it needs 2 cores, 32 GiB and no GPU" in refused(needs, machines)
    assert "rayorch pools --address" in NoMachineError.fix


def test_cores_and_gpus_of_two_machines_are_not_added_up() -> None:
    machines = {"plain": (Size(4.0, 16 * GIB), Size(1.0, 16 * GIB, 1.0))}

    needs = StageResources(cores=2.0, memory_bytes=GIB, gpus=1.0)
    assert "it needs 2 cores, 1 GiB and 1 GPU" in refused(needs, machines)


def test_machines_that_nobody_describes_take_whatever_comes() -> None:
    needs = StageResources(cores=64.0, memory_bytes=1 << 44, gpus=8.0)
    program = make.program_of(replace(make.stage("lines"), resources=needs), ["file:///out"])

    check_needs(program, {"in-process": ()})
    check_needs(program, {})


def behind_an_exchange(
    there: dict[str, int],
    objective: Objective = CHEAPEST,
    elastic: dict[str, int] | None = None,
) -> Standing:
    """A run whose sources are read: what is left is a stage that no plan has seen."""
    file = """
pools:
  - {name: here, vcpu: 4, memory: 16 GiB, usd_h: 0.2, max_nodes: 4}
  - {name: other, vcpu: 4, memory: 16 GiB, usd_h: 0.6, max_nodes: 4}
"""
    pools, _ = usable_pools(
        parse_pools(file, "pools.yaml"), there, "pools.yaml", autoscale=elastic is not None
    )
    plan = sized(plan_of(lines=[500] * 8, sums=[]), sums={"memory_bytes": 2 * GIB})
    return begun(plan, pools, objective, elastic)[0]


def lines_done(made: Standing, at_s: float, **changes: Any) -> Observed:
    return Observed(
        at_s=at_s,
        classes=tuple(ClassSeen(each.name, done=each.count) for each in made.classes),
        **changes,
    )


def test_a_stage_behind_an_exchange_moves_when_the_pool_that_it_was_to_use_is_lost() -> None:
    made = behind_an_exchange({"here": 4, "other": 4})
    assert {each.pool for each in wire(made).runners} == {"here"}

    reasons, after, made = look(made, lines_done(made, 30.0), {"other": 4})
    made, news = moved(made, 2, reasons)

    assert (reasons, after) == (("pool here is gone",), None)
    assert isinstance(news, PlacementReady)
    assert (news.revision, news.method) == (2, "carried over")
    assert news.runners == (RunnersWanted("other", 30.0, 4, 0, 1.0, 2 * GIB, 0.0),)
    # There it stays, also when the first pool is back: its runners are at work.
    reasons, _, made = look(made, lines_done(made, 60.0), {"here": 4, "other": 4})
    assert moved(made, 3, reasons) == (made, PlacementKept(RunId("r")))


def test_tasks_that_are_to_be_done_again_after_a_stage_moved_are_placed_again() -> None:
    """An exchange file is lost: who wrote it was placed when there was nothing left for a plan."""
    made = behind_an_exchange({"here": 4, "other": 4})
    reasons, _, made = look(made, lines_done(made, 30.0), {"other": 4})
    made, _ = moved(made, 2, reasons)
    (lines,) = made.classes
    seen = Observed(at_s=60.0, classes=(ClassSeen(lines.name, done=lines.count - 1),))

    reasons, after, made = look(made, seen, {"other": 4})

    assert reasons == ("tasks are to be done again",)
    assert after is not None
    plan = placement.replan(made.problem, made.layout, after)
    ready = wire(follows(made, after, plan, 3), reasons)
    assert ready.classes[0].pools == ("other",)
    assert {each.pool for each in ready.runners} == {"other"}


def test_machines_for_a_stage_behind_an_exchange_are_asked_for_elsewhere_when_none_come() -> None:
    made = behind_an_exchange({}, elastic={"here": 0, "other": 0})
    (here, *_) = made.pools.pools
    asked = {"asked": (("here", 4),)}
    _, _, made = look(made, lines_done(made, 5.0, **asked), {})

    late_s = 6.0 + patience_of(here)
    reasons, _, made = look(made, lines_done(made, late_s, **asked), {})
    made, news = moved(made, 2, reasons)

    assert reasons[0].startswith("pool here cannot be had: 0 of 4 nodes are there")
    assert isinstance(news, PlacementReady)
    assert [(each.pool, each.nodes) for each in news.runners] == [("other", 4)]


@pytest.mark.parametrize("objective", [CHEAPEST, Deadline(timedelta(minutes=5))])
def test_where_a_stage_behind_an_exchange_has_no_pool_left_any_machine_will_do(
    objective: Objective,
) -> None:
    made = behind_an_exchange({"here": 4, "other": 4}, objective)

    reasons, _, made = look(made, lines_done(made, 30.0), {})

    made, news = moved(made, 2, reasons)
    assert isinstance(news, PlacementReady)
    assert news.runners == ()  # The core asks for its runners wherever one fits.
    again, _, _ = look(made, lines_done(made, 60.0), {})
    assert again == ()


def with_one_gpu_pool(elastic: dict[str, int] | None, there: dict[str, int]) -> Standing:
    """A run whose last stage needs a GPU, and has not been seen by any plan."""
    pools, _ = usable_pools(
        POOLS, there, "pools.yaml", autoscale=elastic is not None, with_gpus=True
    )
    plan = sized(plan_of(lines=[500] * 8, scores=[]), scores={"gpus": 1.0})
    made = begun(plan, pools, elastic=elastic)[0]
    assert "devices" in {each.pool for each in wire(made).runners}
    return made


def wanted_of(made: Standing, observed: Observed, there: dict[str, int]) -> tuple[Standing, Any]:
    """Look at a placement; return it and what its stage with a GPU is to have."""
    reasons, _, made = look(made, observed, there)
    made, _ = moved(made, made.revision + 1, reasons)
    return made, [(each.pool, each.nodes) for each in wire(made).runners if each.gpus]


def test_the_only_pool_that_a_stage_behind_an_exchange_fits_in_is_asked_for_on() -> None:
    made = with_one_gpu_pool({"plain": 0, "devices": 0}, {})
    (_, before) = wanted_of(made, lines_done(made, 1.0), {})
    patient_s = patience_of(made.pools.pools[1])
    asked = {"asked": (("devices", before[0][1]),)}
    made, _ = wanted_of(made, lines_done(made, 2.0, **asked), {"plain": 4})

    # None came in time: there is no other to ask, now or later.
    for at_s in (3.0 + patient_s, 1000.0 + patient_s):
        made, wanted = wanted_of(made, lines_done(made, at_s, **asked), {"plain": 4})
        assert wanted == before


@pytest.mark.parametrize("elastic", [None, {"plain": 1, "devices": 1}])
def test_the_only_pool_that_a_stage_behind_an_exchange_fits_in_is_not_left_alone(
    elastic: dict[str, int] | None,
) -> None:
    made = with_one_gpu_pool(elastic, THERE)
    at_work = {"runners": (("devices", 2), ("plain", 4))}
    made, before = wanted_of(made, lines_done(made, 30.0, **at_work), THERE)

    lost = {"runners": (("plain", 4),), "lost": ("devices",)}
    made, wanted = wanted_of(made, lines_done(made, 31.0, **lost), THERE)

    assert wanted == before


def test_the_only_pool_that_tasks_fit_in_stays_in_the_problem_however_late_it_is() -> None:
    pools, _ = usable_pools(POOLS, {}, "pools.yaml", autoscale=True, with_gpus=True)
    plan = sized(plan_of(lines=[500] * 8, scores=[500] * 8), scores={"gpus": 1.0})
    made, _ = begun(plan, pools, elastic={"plain": 0, "devices": 0})
    asked = (("devices", 1),)
    _, _, made = look(made, Observed(at_s=2.0, asked=asked), {"plain": 4})

    late_s = 3.0 + patience_of(pools.pools[1])
    (late,), after, made = look(made, Observed(at_s=late_s, asked=asked), {"plain": 4})

    assert late.startswith("pool devices cannot be had: 0 of 1 nodes are there")
    assert after is not None
    again = placement.replan(made.problem, made.layout, after, time_limit_s=0.0)
    ready = wire(follows(made, after, again, 2))
    assert "devices" in {each.pool for each in ready.runners if each.gpus}
