"""What the solver's process is asked and what it answers, as values and as bytes.

A question is pickled: it goes from us to a process of ours. An answer is msgpack, checked field by
field, because a process that is dying may say anything.
"""

import pickle
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

import placement
from placement import Layout, Problem
from placement.plan import Forecast
from rayorch.plan.deciding import Decision


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
