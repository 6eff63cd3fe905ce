"""The measure of scale, on problems that are small enough for a test."""

import msgspec
import pytest

from benchmarks import placement_scale
from benchmarks.workloads.placing import Figures
from placement.model import Problem
from placement.solve import solve


def _problem() -> Problem:
    return placement_scale.problem_of(4_000, seed=1)


def test_a_problem_has_the_stages_and_pools_that_it_is_said_to_have() -> None:
    problem = _problem()

    assert len(problem.classes) == 20
    assert len(problem.pools) == 16
    assert problem.tasks == pytest.approx(4_000, rel=0.3)
    assert problem == _problem()


def test_what_is_left_holds_what_was_asked_for_but_not_of_the_pool_that_has_gone() -> None:
    problem = _problem()
    plan = solve(problem, time_limit_s=0.0)

    left = placement_scale.later(problem, plan)

    asked = {problem.pools[f.pool].name: f.count for f in plan.layout.fleets if f.at_s == 0.0}
    asked.pop("m7a.4x-spot", None)
    assert {held.pool: held.count for held in left.held} == asked
    assert left.down == ("m7a.4x-spot",)
    assert left.tasks == problem.tasks - problem.classes[0].count // 2


def test_each_figure_is_printed_beside_its_target(capsys: pytest.CaptureFixture[str]) -> None:
    code = placement_scale.main(["--tasks", "4000", "--runs", "1", "--seeds", "1"])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[0] == "4000 tasks"
    assert [line.split()[0] for line in lines[1:]] == ["first", "final", "replan", "memory"]
    assert all("target" in line for line in lines[1:])


@pytest.mark.slow
def test_a_line_for_programs_has_each_repetition_and_cost_against_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    placement_scale.main(["--tasks", "4000", "--runs", "2", "--seeds", "1", "--json"])

    found = msgspec.json.decode(capsys.readouterr().out, type=Figures)
    assert found.tasks == 4_000
    assert {name: len(plan.cpu_s) for name, plan in found.plans.items()} == {
        "first": 2,
        "final": 2,
        "replan": 2,
    }
    assert all(0.0 <= gap < 10.0 for gap in found.plans["final"].gap)
    ends = [p95_s for p95_s, _ in found.frontier]
    assert ends == sorted(ends)
