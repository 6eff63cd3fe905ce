"""What becomes of an error that ends or troubles a run: the text that the journal keeps."""

from typing import Final

from rayorch.core.values import ErrorInfo, FailureKind

_KINDS: Final[dict[str, FailureKind]] = {
    "retry": "transient",
    "check": "transient",
    "fix": "refused",
    "stop": "refused",
    "repair": "refused",
}
"""What an error's remedy makes of the run that it ends; other errors are bugs and have no kind."""


def error_info(error: Exception) -> ErrorInfo:
    """Return an error of ours, or of a library that we called, as a person should read it."""
    return ErrorInfo(
        message=str(error) or type(error).__name__,
        error_type=type(error).__name__,
        remedy=str(getattr(error, "fix", "") or ""),
        kind=_KINDS.get(getattr(error, "remedy", "")),
    )
