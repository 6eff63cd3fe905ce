"""The errors of capacity planning.

RayorchError
└── CapacityError    fix    what was asked cannot be answered as it stands
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class CapacityError(RayorchError):
    """A question about capacity that has no answer; the text says what to ask instead."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.fix}"
