"""The solver's process: a question on standard input, its answer on standard output, and no more.

    python -P -m rayorch.plan.solver < pickled Question > msgpack of Answer

Searching takes seconds of processor time and calls a solver written in C++: neither may hold up,
or take down, the process that schedules. The question comes from our own parent; the answer is
checked there, field by field, because a process that is dying may say anything.
"""

import os
import pickle
import sys
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

import placement
from placement import Layout, PlacementError, Problem
from placement.plan import Forecast
from rayorch.plan.deciding import Decision, solved, told

NICE: Final = 10
"""Runners go first: the plan that stands serves meanwhile."""
NO_PLAN: Final = 3
"""Exit status when the problem has no plan; the reason is the last line of standard error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be placed. With a plan under way (`before`, `layout`) it is planned again."""

    problem: Problem
    is_priced: bool
    budget_usd: float | None = None
    before: Problem | None = None
    layout: Layout | None = None


class Answer(msgspec.Struct, frozen=True):
    """A plan: its layout, what it comes to, and all that there is to tell about it.

    `event` says what went wrong on the way to a plan that stands all the same.
    """

    layout: Layout
    forecast: Forecast
    decision: Decision
    method: str
    bound_usd: float
    event: str = ""

    @property
    def plan(self) -> placement.Plan:
        """The plan, without what only its search knew."""
        return placement.Plan(
            layout=self.layout,
            forecast=self.forecast,
            bound_usd=self.bound_usd,
            method=self.method,
            candidates=(),
            evaluations=0,
            used_s=0.0,
            event=self.event,
        )


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


def encode_question(question: Question) -> bytes:
    """Return a question as the solver's process reads it."""
    return pickle.dumps(question)


def encode_answer(answer: Answer) -> bytes:
    """Return an answer as the solver's process says it."""
    return msgspec.msgpack.encode(answer, enc_hook=_plain)


def decode_answer(data: bytes) -> Answer:
    """Return what the solver's process said. Raises: msgspec.DecodeError, of anything else."""
    return msgspec.msgpack.decode(data, type=Answer)


def _plain(value: Any) -> Any:  # noqa: ANN401 - msgspec's hook.
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(type(value).__name__)


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
