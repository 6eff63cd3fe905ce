"""What a run should reach: a deadline, a budget, or a weight between cost and latency."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from rayorch.spec.fields import UserModel


class Deadline(UserModel):
    """Everything is published within this time after the run was submitted."""

    kind: Literal["deadline"] = "deadline"
    within: timedelta = Field(gt=timedelta(0))

    def __init__(self, within: timedelta, **fields: object) -> None:
        super().__init__(within=within, **fields)


class Budget(UserModel):
    """The run costs at most this many US dollars."""

    kind: Literal["budget"] = "budget"
    usd: float = Field(gt=0.0)

    def __init__(self, usd: float, **fields: object) -> None:
        super().__init__(usd=usd, **fields)


class Weighted(UserModel):
    """Trade cost against latency: 0 asks for the cheapest plan, 1 for the fastest."""

    kind: Literal["weighted"] = "weighted"
    weight: float = Field(ge=0.0, le=1.0)

    def __init__(self, weight: float, **fields: object) -> None:
        super().__init__(weight=weight, **fields)


Objective = Annotated[Deadline | Budget | Weighted, Field(discriminator="kind")]
