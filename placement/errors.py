"""What placement refuses, and what the caller can do about it.

PlacementError
    InvalidProblemError     the problem breaks a rule of the model      remedy: fix
    InvalidPlanError        a plan does not belong to its problem       remedy: report
    InfeasibleError         no plan can satisfy the problem             remedy: fix
    SolverError             the MILP solver failed or ran out of time   remedy: retry
"""

from __future__ import annotations

from typing import ClassVar, Literal

Remedy = Literal["retry", "check", "fix", "stop", "repair", "report"]


class PlacementError(Exception):
    """Any refusal of this package; `remedy` says what the caller can do."""

    remedy: ClassVar[Remedy] = "report"


class InvalidProblemError(PlacementError, ValueError):
    """A field of the problem has a value that the model does not allow."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, where: str, what: str, value: str) -> None:
        super().__init__(where, what, value)
        self.where = where
        self.what = what
        self.value = value

    def __str__(self) -> str:
        return f"{self.what}. where={self.where}, value={self.value}"


class InvalidPlanError(PlacementError, ValueError):
    """A layout leaves a task out, doubles one, or gives work to nodes that it does not fit."""

    remedy: ClassVar[Remedy] = "report"

    def __init__(self, what: str, detail: str) -> None:
        super().__init__(what, detail)
        self.what = what
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.what}. {self.detail}"


class InfeasibleError(PlacementError):
    """No plan satisfies the problem; `nearest` is the change that would make one possible."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, reason: str, nearest: str) -> None:
        super().__init__(reason, nearest)
        self.reason = reason
        self.nearest = nearest

    def __str__(self) -> str:
        return f"{self.reason}. nearest={self.nearest}"


class SolverError(PlacementError):
    """The MILP solver gave no usable answer; the incumbent plan stays valid."""

    remedy: ClassVar[Remedy] = "retry"

    def __init__(self, status: str, model: str) -> None:
        super().__init__(status, model)
        self.status = status
        self.model = model

    def __str__(self) -> str:
        return f"the solver gave no answer. status={self.status}, model={self.model}"
