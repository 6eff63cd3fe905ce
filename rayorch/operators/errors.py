"""The errors of operators at work.

RayorchError
└── ValueRefusedError          fix     a value does not fit the type of the result
"""

from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class ValueRefusedError(RayorchError):
    """A value that an operator made does not fit its column."""

    remedy: ClassVar[Remedy] = "fix"
    fix = (
        "cast the column before the operator, with .select or .map, to a type that holds the "
        "result: a sum of integers must fit 64 bits, one of decimals 38 digits"
    )

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"a value does not fit its column: {self.why}"
