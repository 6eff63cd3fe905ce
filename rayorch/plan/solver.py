"""The solver's process: a question on standard input, its answer on standard output, and no more.

    python -P -m rayorch.plan.solver < Question > Answer

Searching takes seconds of processor time and calls a solver written in C++: neither may hold up,
or take down, the process that schedules. See `question` for what goes to and fro.
"""

import os
import pickle
import sys
from typing import Final

import placement
from placement import PlacementError
from rayorch.plan.deciding import solved, told
from rayorch.plan.question import Answer, Question, encode_answer

NICE: Final = 5
"""Runners go first: the plan that stands serves meanwhile."""
NO_PLAN: Final = 3
"""Exit status when the problem has no plan; the reason is the last line of standard error."""


def answer_of(question: Question) -> Answer:
    """Return the answer. Raises: PlacementError, when there is none."""
    problem, is_priced = question.problem, question.is_priced
    plan: placement.Plan | None
    if question.before is not None and question.layout is not None:
        plan = placement.replan(question.before, question.layout, problem)
        decision = told(problem, plan, is_priced=is_priced)
    else:
        decision, plan = solved(problem, is_priced=is_priced, budget_usd=question.budget_usd)
    if plan is None:
        raise placement.InfeasibleError(decision.refused, decision.nearest)
    return Answer(plan.layout, plan.forecast, decision, plan.method, plan.bound_usd, plan.event)


def main() -> int:
    """Answer one question."""
    os.nice(NICE)
    question = pickle.load(sys.stdin.buffer)  # noqa: S301 - of our own parent.
    assert isinstance(question, Question)
    try:
        answer = answer_of(question)
    except PlacementError as error:
        sys.stderr.write(f"{error}\n")
        return NO_PLAN
    sys.stdout.buffer.write(encode_answer(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
