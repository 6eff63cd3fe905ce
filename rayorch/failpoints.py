"""Places where a fault test may kill or freeze this process; nothing at all elsewhere.

The test sets `RAYORCH_FAILPOINTS` to a comma-separated list of `NAME=ACTION[:once:PATH]`:

    RAYORCH_FAILPOINTS="runner.after_stage=kill:once:/tmp/t1/killed"

`kill` sends SIGKILL to the process, `stop` sends SIGSTOP (the test continues it with SIGCONT),
`raise` raises OSError(EIO). With `once:PATH`, only the process that manages to create PATH acts, so
that of all the processes of a cluster exactly one dies; it writes its pid there first. A value of
`@PATH` is read from that file, so that a cluster that is up already can be told. The variable is
read once, when this module is imported: without it a failpoint is one look at an empty mapping.
"""

import errno
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, cast, get_args

import msgspec

ENVIRONMENT: Final = "RAYORCH_FAILPOINTS"

FailAction = Literal[
    "kill",  # SIGKILL: the process is gone at once
    "stop",  # SIGSTOP: the process is silent until somebody continues it
    "raise",  # OSError(EIO): what a broken disk would do
]
_ACTIONS: Final[tuple[str, ...]] = get_args(FailAction)


class Failpoint(msgspec.Struct, frozen=True):
    """What happens at one named place, and the file that makes it happen once."""

    action: FailAction
    once: str = ""


def failpoints_of(text: str) -> dict[str, Failpoint]:
    """Read the value of the variable.

    Raises: ValueError, quoting the part that is not `NAME=ACTION[:once:PATH]`.
    """
    points: dict[str, Failpoint] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, what = part.partition("=")
        action, _, rest = what.partition(":")
        how, _, path = rest.partition(":")
        once_is_whole = (how == "once" and path != "") if rest else True
        if not name or action not in _ACTIONS or not once_is_whole:
            raise ValueError(f"not a failpoint, want NAME=ACTION[:once:PATH]. got={part!r}")
        points[name] = Failpoint(action=cast("FailAction", action), once=path)
    return points


def _text(value: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""  # Nothing is armed at the moment.


# The one reader of its variable: a failpoint must cost nothing where settings are not at hand.
_armed: Mapping[str, Failpoint] = failpoints_of(_text(os.environ.get(ENVIRONMENT, "")))


def failpoint(name: str) -> None:
    """Die here, if a test asked for it."""
    if _armed:
        point = _armed.get(name)
        if point is not None:
            _act(point)


def _act(point: Failpoint) -> None:
    if point.once and not _is_first(Path(point.once)):
        return
    match point.action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "raise":
            raise OSError(errno.EIO, "a failpoint broke this")


def _is_first(path: Path) -> bool:
    try:
        with path.open("x") as claim:
            claim.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True
