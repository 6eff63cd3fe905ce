"""The errors of measuring.

RayorchError
├── ResultsError    fix    a file of results cannot be used as it stands
└── SuiteError      fix    nothing can be measured here as things are
"""

from pathlib import Path
from typing import ClassVar

from rayorch.errors import RayorchError, Remedy


class ResultsError(RayorchError):
    """A file that is to hold results of `rayorch bench run`, and does not."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, file: Path) -> None:
        super().__init__(problem, file)
        self.problem = problem
        self.file = file

    def __str__(self) -> str:
        return f"{self.problem}. file={self.file}\n  `rayorch bench run -o FILE` writes one"


class SuiteError(RayorchError):
    """The suite cannot begin; the text says what to change."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.fix}"
