"""The solver's process may do whatever it likes: what comes of it is an answer or an error.

Seen to fail with the protection taken out: the exit status, and the check of the layout.
"""

import sys
import threading
from dataclasses import replace
from typing import Any

import pytest

import placement
from placement import Layout, Pool, Problem, TaskClass
from rayorch.clock import SystemClock
from rayorch.errors import SolverProcessError
from rayorch.host.solving import SolverProcess
from rayorch.plan.question import Question, decode_answer, encode_answer
from rayorch.plan.solver import answer_of


def problem(count: int = 40) -> Problem:
    return Problem(
        classes=(TaskClass(name="lines", count=count, work_s=10.0, kind="lines", stage="lines"),),
        pools=(
            Pool(name="fast", vcpu=1, mem_gb=8, speed={"lines": 2.0}, usd_h=4.0, nodes_max=4),
            Pool(name="cheap", vcpu=1, mem_gb=8, speed={"lines": 1.0}, usd_h=1.0, nodes_max=4),
        ),
        objective=placement.Deadline(at_s=600.0),
    )


def asked(**changes: Any) -> Question:
    return replace(Question(problem=problem(), is_priced=True), **changes)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_process_answers_with_a_plan_of_the_problem() -> None:
    answer = SolverProcess().ask(asked())

    assert answer.forecast.hit >= 0.95
    assert answer.decision.stages[0].chosen
    assert {answer.layout.fleets[0].pool} <= {0, 1}


def test_a_plan_under_way_is_planned_again() -> None:
    question = asked()
    first = answer_of(question)
    gone = replace(
        question.problem,
        now_s=100.0,
        pools=(question.problem.pools[0], replace(question.problem.pools[1], nodes_max=0)),
    )

    again = SolverProcess().ask(asked(problem=gone, before=question.problem, layout=first.layout))

    assert {fleet.pool for fleet in again.layout.fleets} == {0}


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("import sys; sys.exit('no memory left')", "exit status 1. no memory left"),
        ("print('hello')", "what is no plan"),
        ("pass", "what is no plan"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)", "what is no plan"),
    ],
)
def test_a_process_that_dies_or_talks_nonsense_is_an_error_that_says_so(
    code: str, says: str
) -> None:
    with pytest.raises(SolverProcessError, match=says):
        SolverProcess(python(code)).ask(asked())


def test_a_process_that_hangs_is_ended_at_its_time_limit() -> None:
    clock = SystemClock()
    begun_s = clock.monotonic_s()

    with pytest.raises(SolverProcessError, match="took too long"):
        SolverProcess(python("import threading; threading.Event().wait()"), 0.3).ask(asked())

    assert clock.monotonic_s() - begun_s < 10.0


def test_a_plan_of_another_problem_is_no_answer() -> None:
    """It can be read, and would send tasks nowhere: each task must be placed exactly once."""
    other = answer_of(asked(problem=problem(count=7)))
    code = f"import sys; sys.stdout.buffer.write({encode_answer(other)!r})"

    with pytest.raises(SolverProcessError, match="tasks are not placed"):
        SolverProcess(python(code)).ask(asked())


def test_a_pool_that_does_not_exist_is_no_answer() -> None:
    answer = answer_of(asked())
    fleets = tuple(replace(fleet, pool=9) for fleet in answer.layout.fleets)
    layout = Layout(answer.layout.parts, fleets, answer.layout.fallback)
    wrong = type(answer)(layout, answer.forecast, answer.decision, answer.method, answer.bound_usd)
    code = f"import sys; sys.stdout.buffer.write({encode_answer(wrong)!r})"

    with pytest.raises(SolverProcessError, match="a fleet is malformed"):
        SolverProcess(python(code)).ask(asked())


def test_an_answer_survives_the_way() -> None:
    answer = answer_of(asked())

    assert decode_answer(encode_answer(answer)) == answer


def test_who_waits_is_told_when_the_host_stops() -> None:
    solver = SolverProcess(python("import threading; threading.Event().wait()"))
    errors: list[Exception] = []

    def ask() -> None:
        try:
            solver.ask(asked())
        except SolverProcessError as error:
            errors.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    while not solver._running:
        waiting.join(0.01)
    solver.close()
    waiting.join(10.0)

    assert [str(error) for error in errors] == ["the solver was killed by SIGKILL"]
    with pytest.raises(SolverProcessError, match="stopping"):
        solver.ask(asked())
