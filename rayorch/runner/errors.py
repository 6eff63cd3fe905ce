"""The errors of executing attempts.

RayorchError
├── AttemptError         an attempt ended; carries its failure kind and what a person should read
├── AttemptHaltedError   an attempt was told to stop, and nobody waits for what comes of it
├── NoticesError         a cloud's metadata service does not answer, or not as it should
└── ResultError          what a transform returned cannot be used (an AttemptError `refused`)
"""

from typing import ClassVar

from rayorch.core.values import ErrorInfo, FailureKind, WrittenBy
from rayorch.errors import RayorchError, Remedy


class AttemptError(RayorchError):
    """An attempt ended without an output."""

    remedy: ClassVar[Remedy] = "report"

    def __init__(
        self, kind: FailureKind, info: ErrorInfo, lost: tuple[WrittenBy, ...] = ()
    ) -> None:
        super().__init__(kind, info, lost)
        self.kind = kind
        self.info = info
        self.lost = lost  # whose exchange files cannot be read; of kind `upstream`

    def __str__(self) -> str:
        return f"{self.info.message}. kind={self.kind}, transform={self.info.transform}"


class AttemptHaltedError(RayorchError):
    """An attempt was told to stop between two batches."""

    remedy: ClassVar[Remedy] = "stop"


class NoticesError(RayorchError):
    """A cloud's metadata service does not answer, or not as it should."""

    remedy: ClassVar[Remedy] = "retry"

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        self.why = why

    def __str__(self) -> str:
        return f"{self.why}. url={self.url}"


class ResultError(RayorchError):
    """What a transform returned cannot be used."""

    remedy: ClassVar[Remedy] = "fix"

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem, fix)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return self.problem
