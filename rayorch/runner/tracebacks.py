"""An exception as a person should read it: the user's frames, not ours."""

import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

MESSAGE_CHARS_MAX: Final = 4_000
TRACEBACK_CHARS_MAX: Final = 16_000  # of the end: the raise itself is there

_HOUSE: Final = Path(__file__).resolve().parents[2]
_OURS: Final = tuple(f"{_HOUSE / package}/" for package in ("rayorch", "connectors", "placement"))
_PATHS: Final = sysconfig.get_paths()
_INSTALLED: Final = tuple(
    {f"{_PATHS[name]}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_COMPILED: Final = (".pyx", ".pxi", ".pxd")


def message_of(error: BaseException) -> str:
    """Return what the exception says, or its class when it says nothing; never without end."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r})"
    # A `__str__` of the user's may raise like any of their code.
    said = "".join(traceback.TracebackException.from_exception(error).format_exception_only())
    text = said.strip().partition(": ")[2] or said.strip()
    return _cut(encodable(text), MESSAGE_CHARS_MAX)


def where_of(error: BaseException) -> str:
    """Return `file:line` of the deepest frame that is the user's, or nothing."""
    found = ""
    for filename, line in _frames(error.__traceback__):
        if _is_users(filename):
            found = f"{filename}:{line}"
    return found


def traceback_of(error: BaseException, *, ours: bool = False) -> str:
    """Return the traceback, without our frames unless the error is ours."""
    told = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    pending: list[traceback.TracebackException | None] = [told]
    while pending and not ours:
        part = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        part.stack = traceback.StackSummary.from_list(
            [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
        )
        pending += [part.__cause__, part.__context__]
    text = encodable("".join(told.format()))
    return text if len(text) <= TRACEBACK_CHARS_MAX else f"...{text[-TRACEBACK_CHARS_MAX:]}"


def encodable(text: str) -> str:
    """Return text that UTF-8 can hold: names of files that are not UTF-8 come as surrogates."""
    return text.encode(errors="backslashreplace").decode()


def _frames(tb: TracebackType | None) -> Iterator[tuple[str, int]]:
    while tb is not None:
        yield tb.tb_frame.f_code.co_filename, tb.tb_lineno
        tb = tb.tb_next


def _is_users(filename: str) -> bool:
    return not (
        filename.startswith((*_OURS, *_INSTALLED, "<frozen "))
        or filename.endswith(_COMPILED)
        or "/site-packages/" in filename
    )


def _cut(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else f"{text[:chars_max]}..."
