"""What is printed when a command fails, and the exit code that it ends with."""

import json
import tempfile
import traceback
from collections.abc import Mapping
from typing import Final

from connectors.data_errors import DataError
from connectors.errors import ConnectorError
from rayorch.cli.options import Exit
from rayorch.errors import RayorchError

Failure = RayorchError | ConnectorError

# A text of remedy "fix" or "stop" says by itself what to do.
ADVICE: Final[Mapping[str, str]] = {
    "retry": "this may pass: try again",
    "check": "it may have happened all the same: `rayorch runs` shows what stands",
    "repair": "`rayorch fsck HOME` says what else is damaged and what is lost with it, and "
    "`rayorch fsck HOME --repair` mends what can be; what was published is not touched",
    "report": "this looks like a bug of rayorch: please report it, with the output of the same "
    "command under RAYORCH_TRACEBACK=1",
}


def error_text(error: Failure) -> str:
    """Return an error as a person should read it: what, where, what to do."""
    advice = ADVICE.get(error.remedy)
    return f"error: {error}" + (f"\n  {advice}" if advice else "")


def document_of(error: Failure) -> str:
    """Return an error as a JSON document."""
    content = {"type": type(error).__name__, "message": str(error), "remedy": error.remedy}
    return json.dumps({"error": content}, ensure_ascii=False)


def exit_of(error: Failure) -> Exit:
    """Return the exit code that an error ends a command with."""
    if error.remedy != "fix":
        return Exit.FAILED
    # Input that breaks its contract, as distinct from a command that was typed wrongly.
    return Exit.REFUSED if isinstance(error, DataError) else Exit.USAGE


def crash_text(error: Exception) -> str:
    """Write the traceback of a bug to a file; return the line that names it."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="rayorch-crash-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(traceback.format_exception(error))
    kind = type(error).__name__
    said = str(error).partition("\n")[0]
    return (
        f"error: a bug of rayorch: {kind}: {said}\n"
        f"  please report it with the traceback, which is in {file.name}"
    )
