"""From a plan to a placement problem, and from that to what people are told."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

import placement
from connectors.splits import Discovery, FilePart, Split
from placement import Problem
from rayorch.errors import PoolsError
from rayorch.home import RunPlan, StagePlan, encode_split
from rayorch.plan.deciding import Decision, decide
from rayorch.plan.estimate import History, Measured, Work, observe
from rayorch.plan.planner import Plan, PlannedStage
from rayorch.plan.pool_files import parse_pools
from rayorch.plan.pools import PoolsSpec, local_pools
from rayorch.plan.problem import BUCKETS_MAX, problem_of
from rayorch.spec.objective import Budget, Deadline, Objective, Weighted

MB = 10**6
FILE = """
data_location: east
egress_usd_gb: {east: {west: 0.02}}
wan_gbps: 1
put_usd: 5.0e-6
pools:
  - {name: here, vcpu: 4, memory: 16 GiB, usd_h: 0.2, location: east, max_nodes: 20}
  - {name: quick, vcpu: 4, memory: 16 GiB, usd_h: 0.6, speed: 2, location: east, max_nodes: 20}
  - {name: far, vcpu: 4, memory: 16 GiB, usd_h: 0.19, location: west, max_nodes: 20}
  - {name: tiny, vcpu: 1, memory: 1 GB, usd_h: 0.01, location: east}
"""
POOLS = parse_pools(FILE, "pools.yaml")


def plan_of(**sizes_mb: list[int]) -> Plan:
    """A plan with these stages, each with tasks of these sizes."""
    stages, shown = [], []
    for name, sizes in sizes_mb.items():
        parts = [FilePart(key=f"{k}", size_bytes=size * MB) for k, size in enumerate(sizes)]
        splits = [Split(parts=(part,), rows=0, size_bytes=part.size_bytes) for part in parts]
        found = Discovery(
            files=(), schema_ipc=b"", format="parquet", rows=None, size_bytes=0, roots=()
        )
        stages.append(StagePlan(found, tuple(encode_split(split) for split in splits)))
        shown.append(
            PlannedStage(
                name=name, url="", format="parquet", files=len(sizes), tasks=len(sizes),
                size_bytes=sum(sizes) * MB, rows=None, task_bytes_max=max(sizes, default=0) * MB,
                steps=(), columns=None, predicate="", sinks=("file:///out",), cores=1.0,
                memory_bytes=2 * 10**9, gpus=0.0,
            )
        )  # fmt: skip
    return Plan(run_plan=RunPlan(tuple(stages)), stages=tuple(shown))


def history(pool: str, s_per_gb: float, attempts: int = 200, stage: str = "lines") -> History:
    some = [
        Measured(Work(k * MB), pool, s_per_gb * k / 1000, memory_bytes=3 * 10**9, out_bytes=k * MB)
        for k in range(100, 100 + attempts)
    ]
    return observe(History(f"v-{stage}", stage), some)


def problem(
    plan: Plan,
    pools: PoolsSpec = POOLS,
    objective: Objective | None = None,
    histories: list[History] | None = None,
) -> Problem:
    known = histories or [History(f"v-{stage.name}", stage.name) for stage in plan.stages]
    return problem_of(plan, known, pools, objective)


def measured(objective: Objective | None = None, **fields: Any) -> Problem:
    """A hundred tasks of a GB, 100 s each, that were measured on `here`."""
    plan = plan_of(lines=[1000] * 100)
    return problem(plan, objective=objective, histories=[history("here", 100.0)], **fields)


def test_tasks_of_about_the_same_size_are_one_class() -> None:
    made = problem(plan_of(lines=[100, 110, 120, 900, 950], more=[10]))

    assert [(cls.name, cls.count) for cls in made.classes] == [
        ("lines/1", 3),
        ("lines/2", 2),
        ("more", 1),
    ]
    assert made.classes[0].in_gb == pytest.approx(0.11)
    assert made.classes[0].work_s < made.classes[1].work_s


def test_ever_so_many_sizes_are_a_few_classes() -> None:
    made = problem(plan_of(lines=[2**k for k in range(17)] * 100))

    assert len(made.classes) <= BUCKETS_MAX
    assert made.tasks == 1_700


def test_a_source_without_rows_is_a_task_like_any() -> None:
    (cls,) = problem(plan_of(lines=[0])).classes

    assert cls.count == 1
    assert cls.work_s > 0.0


def test_a_task_takes_what_was_measured_reading_and_writing_once() -> None:
    """Placement adds the transfers of a pool: what was measured there has them in it already."""
    made = measured()

    tables = placement.tables_of(made)
    here = 0
    source = tables.locations.index("east")
    (cls,) = made.classes
    whole_s = tables.compute_s[0, here] + tables.write_s[0, here]
    whole_s += cls.in_gb * tables.read_s_gb[0, here, source]
    assert whole_s == pytest.approx(100.0, rel=0.05)
    assert cls.out_gb == pytest.approx(1.0, rel=0.05)


def test_memory_is_what_is_leased_or_more_if_more_was_seen() -> None:
    assert problem(plan_of(lines=[10])).classes[0].mem_gb == 2.0
    assert measured().classes[0].mem_gb == 3.0


def _memory(grows: bool, sizes_mb: list[int]) -> list[float]:
    """Memory of the classes of tasks of these sizes, after tasks of 100 to 400 MB."""
    some = [
        Measured(Work(k * MB), "here", 0.1 * k, memory_bytes=(10 * k if grows else 4000) * MB)
        for k in range(100, 401)
    ]
    made = problem(plan_of(lines=sizes_mb), histories=[observe(History("v-lines", "lines"), some)])
    return [cls.mem_gb for cls in made.classes]


def test_memory_that_grew_with_size_grows_on_for_larger_tasks() -> None:
    """Ten times the size of a task was seen, up to 4 GB at 400 MB: 1,600 MB may take 16 GB."""
    small, large = _memory(True, [300, 1600])

    assert small == pytest.approx(4.0)
    assert large == pytest.approx(16.0, rel=0.1)


def test_memory_that_did_not_grow_with_size_does_not_grow() -> None:
    assert _memory(False, [300, 1600]) == [4.0, 4.0]


def test_a_stage_goes_only_to_pools_with_its_labels() -> None:
    plan = plan_of(lines=[1000] * 8)
    wants = Plan(
        run_plan=plan.run_plan,
        stages=tuple(msgspec.structs.replace(s, labels={"disk": "nvme"}) for s in plan.stages),
    )
    labelled = parse_pools(FILE.replace("usd_h: 0.6", "usd_h: 0.6, labels: {disk: nvme}"), "p")

    (stage,) = decide(problem(wants, labelled), is_priced=True, points=0).stages
    assert [use.pool for use in stage.chosen] == ["quick"]
    assert {use.reason for use in stage.lost if use.pool != "tiny"} == {
        "lacks the labels disk=nvme"
    }
    for objective in (None, Deadline(timedelta(hours=9))):
        refused = decide(problem(wants, POOLS, objective), is_priced=True)
        assert refused.refused == "class 'lines' fits in no pool"
        assert refused.nearest == "a pool with the labels disk=nvme"
    # This machine is the only one there is: nobody has said what labels it has.
    assert problem(wants, local_pools(4, 2**34)).pools[0].labels == {"disk": "nvme"}


def test_what_was_never_measured_is_less_sure() -> None:
    spread = {pool.name: pool.speed_cv for pool in measured().pools}

    assert spread["here"] < 0.1 < spread["quick"]
    assert problem(plan_of(lines=[10])).pools[0].speed_cv > 0.5


def test_this_machine_is_what_was_measured_here_under_whatever_name() -> None:
    plan = plan_of(lines=[1000] * 8)
    made = problem(plan, local_pools(4, 2**34), None, [history("in-process", 100.0)])

    assert made.pools[0].speed_cv < 0.1


def test_objectives_become_those_of_placement() -> None:
    assert measured(Deadline(timedelta(minutes=30))).objective == placement.Deadline(at_s=1800.0)
    assert measured(Budget(2.0)).objective == placement.Budget(usd=2.0)
    hours = [measured(Weighted(weight=weight)).objective for weight in (0.0, 0.5, 1.0)]
    values = [each.usd_per_h for each in hours if isinstance(each, placement.Weighted)]
    assert values[0] == 0.0
    assert 0.0 < values[1] < values[2]
    assert measured(None).objective == hours[1]


def test_a_budget_without_prices_is_refused() -> None:
    with pytest.raises(PoolsError, match="a budget needs the price of every pool"):
        problem(plan_of(lines=[10]), local_pools(4, 2**34), Budget(1.0))


# --- what is decided ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def placed() -> Decision:
    return decide(measured(Deadline(timedelta(minutes=20))), is_priced=True)


def test_a_deadline_is_kept_and_every_dollar_belongs_to_a_stage(placed: Decision) -> None:
    assert placed.hit >= 0.95
    assert placed.refused == ""
    (stage,) = placed.stages
    assert sum(use.tasks for use in stage.chosen) == pytest.approx(100.0)
    assert all(use.nodes > 0 for use in stage.chosen)
    assert 0.0 <= stage.start_s < stage.finish_s <= 1200.0
    assert stage.compute_usd == pytest.approx(placed.compute_usd)
    assert stage.request_usd == placed.request_usd == pytest.approx(100 * 5e-6)
    assert stage.egress_usd == pytest.approx(placed.egress_usd)
    assert placed.usd == pytest.approx(
        sum(x or 0.0 for x in (placed.compute_usd, placed.egress_usd, placed.request_usd))
    )


def test_what_lost_is_there_with_its_reason(placed: Decision) -> None:
    (stage,) = placed.stages

    reasons = {use.pool: use.reason for use in stage.lost}
    assert reasons["tiny"] == "too small: needs mem_gb=3, has 1"
    assert set(reasons) | {use.pool for use in stage.chosen} == {"here", "quick", "far", "tiny"}
    assert placed.candidates
    assert all(each.name != placed.method for each in placed.candidates)


def test_the_frontier_goes_from_fast_and_dear_to_slow_and_cheap(placed: Decision) -> None:
    assert len(placed.frontier) >= 2
    finish = [point.p95_s for point in placed.frontier]
    usd = [point.cost for point in placed.frontier]
    assert finish == sorted(finish)
    assert usd == sorted(usd, reverse=True)


def test_an_impossible_deadline_names_the_nearest_that_is_possible() -> None:
    decision = decide(measured(Deadline(timedelta(seconds=30))), is_priced=True)

    assert decision.refused.startswith("no machine is fast enough")
    seconds = float(decision.nearest.split()[1].rstrip("s"))
    again = decide(measured(Deadline(timedelta(seconds=1.05 * seconds))), is_priced=True, points=0)
    assert again.refused == ""


def test_an_impossible_budget_names_the_nearest_that_is_possible() -> None:
    decision = decide(measured(Budget(0.01)), is_priced=True)

    assert decision.refused.startswith("the work costs more")
    usd = float(decision.nearest.split()[1])
    again = decide(measured(Budget(usd)), is_priced=True)
    assert again.refused == ""
    assert again.usd is not None
    assert again.usd <= usd


def test_a_deadline_may_have_a_budget_on_top() -> None:
    asked = measured(Deadline(timedelta(minutes=20)))

    decision = decide(asked, is_priced=True, budget_usd=0.1, points=0)

    assert decision.refused.startswith("the cheapest plan found for the deadline costs")


def test_without_prices_no_dollar_is_told() -> None:
    plan = plan_of(lines=[1000] * 8)
    here = local_pools(4, 2**34)
    decision = decide(
        problem(plan, here, None, [history("in-process", 100.0)]), is_priced=here.is_priced
    )

    assert decision.usd is None
    assert decision.stages[0].compute_usd is None
    assert all(use.usd is None for use in decision.stages[0].chosen)
    assert all(point.usd is None for point in decision.frontier)
    # Eight tasks of 100 s on four cores.
    assert decision.p50_s == pytest.approx(200.0, rel=0.1)
    assert decision.core_hours == pytest.approx(800 / 3600, rel=0.1)


def test_the_same_question_has_the_same_answer() -> None:
    asked = measured(Deadline(timedelta(minutes=20)))

    assert decide(asked, is_priced=True, points=0) == decide(asked, is_priced=True, points=0)
