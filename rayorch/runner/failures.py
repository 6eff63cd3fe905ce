"""Which kind of failure an exception is. The kind decides what happens next, so this is a table.

The first row that matches wins. A row looks at the class (and its bases), at `errno`, at the
`remedy` that our own errors carry, and at where the exception came from: the same OSError means
"try again" from our reader and "a bug, or a choice" from the user's function.

Four kinds are never made from an exception, because the attempt they end does not live to raise
one; `MADE_ELSEWHERE` says who makes them.
"""

import errno
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from rayorch.core.values import FailureKind

Origin = Literal[
    "code",  # the user's function, expression or query
    "load",  # fetching and unpickling a program, which runs the user's modules
    "engine",  # our reading, checking and writing
]


class FailureRow(msgspec.Struct, frozen=True, kw_only=True):
    """One way to fail. Conditions that are empty are not asked; all others must hold."""

    name: str
    kind: FailureKind
    origin: Origin | None = None
    # Names, not classes: most of these libraries are not imported, and need not be installed.
    classes: frozenset[str] = frozenset()
    errnos: frozenset[int] = frozenset()
    remedies: frozenset[str] = frozenset()
    advice: str = ""  # what the user can do; our own errors say it themselves


OUT_OF_MEMORY: Final = frozenset(
    {
        "MemoryError",  # pyarrow's ArrowMemoryError and numpy's _ArrayMemoryError are such
        "duckdb.OutOfMemoryException",
        "_duckdb.OutOfMemoryException",
    }
)
_LARGER: Final = "raise the transform's memory=, or read smaller splits (split_bytes=)"
_MEND: Final = (
    "mend it and resume the run with the file; what may pass by itself is retried when "
    "RetryPolicy(transient_errors=...) names its class"
)
_INSTALL: Final = (
    "have it installed for the runners: `rayorch submit FILE --address http://HEAD:8265 --pip "
    "PACKAGE`, or `--requirements FILE`; or put it into the nodes' image, and resume the run"
)
_NETWORK: Final = frozenset(
    {
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.ENETUNREACH,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EBUSY,
        errno.EMFILE,
        errno.ENFILE,
    }
)

LOAD: Final = FailureRow(
    name="a program that does not load",
    kind="refused",
    origin="load",
    advice="make its modules importable where the runners are, in the versions used here",
)
BUG: Final = FailureRow(
    name="a bug of ours",
    kind="refused",
    advice="this is a bug of rayorch: please report it with the traceback",
)

FAILURES: Final[tuple[FailureRow, ...]] = (
    FailureRow(name="out of memory", kind="oom", classes=OUT_OF_MEMORY, advice=_LARGER),
    FailureRow(
        name="a module that the runners lack",
        kind="user",
        origin="code",
        classes=frozenset({"ModuleNotFoundError"}),
        advice=_INSTALL,
    ),
    FailureRow(
        name="a program whose modules the runners lack",
        kind="refused",
        origin="load",
        classes=frozenset({"ModuleNotFoundError"}),
        advice=_INSTALL,
    ),
    # Exceptions of user code are never retried blindly: only what its author named is transient,
    # and that is looked at before this table.
    FailureRow(name="the user's code raised", kind="user", origin="code", advice=_MEND),
    # A run is bound to its files as they were discovered: to read this one again cannot help,
    # though a new run can, which is what its own remedy ("retry") means.
    FailureRow(
        name="an input changed while the run goes",
        kind="refused",
        classes=frozenset({"connectors.data_errors.FileChangedError"}),
        advice="start a new run: this one is bound to its input files as they were",
    ),
    FailureRow(name="worth another try", kind="transient", remedies=frozenset({"retry"})),
    # A write whose outcome is unknown: the next attempt has other file names, and what this one
    # may have left is swept.
    FailureRow(name="may have happened", kind="transient", remedies=frozenset({"check"})),
    FailureRow(
        name="a person must act", kind="refused", remedies=frozenset({"fix", "stop", "repair"})
    ),
    FailureRow(
        name="a store that we do not understand",
        kind="transient",
        classes=frozenset({"connectors.errors.StoreFaultError"}),
    ),
    FailureRow(
        name="no room",
        kind="refused",
        errnos=frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG}),
        advice="free space there or raise the quota, then resume the run",
    ),
    FailureRow(
        name="may not write",
        kind="refused",
        errnos=frozenset({errno.EROFS}),
        advice="make the place writable or choose another, then resume the run",
    ),
    FailureRow(
        name="not allowed",
        kind="refused",
        classes=frozenset({"PermissionError"}),
        advice="give the runners' account the right to it, then resume the run",
    ),
    FailureRow(
        name="not there",
        kind="refused",
        classes=frozenset({"FileNotFoundError", "NotADirectoryError", "IsADirectoryError"}),
        advice="start a new run if the input moved",
    ),
    FailureRow(
        name="the network or a disk hiccuped",
        kind="transient",
        classes=frozenset({"ConnectionError", "TimeoutError"}),
    ),
    FailureRow(name="I/O that may pass", kind="transient", errnos=_NETWORK),
    # pyarrow's own clients for object stores raise OSError without an errno, for all of it.
    FailureRow(
        name="I/O without a number",
        kind="transient",
        classes=frozenset({"OSError"}),
    ),
    LOAD,
    FailureRow(
        name="bytes or values that Arrow refuses",
        kind="refused",
        classes=frozenset({"pyarrow.lib.ArrowException"}),
        advice="look at the input file named here",
    ),
    BUG,
)

MADE_ELSEWHERE: Final[dict[FailureKind, str]] = {
    "lost": "the host, when a runner dies or stays silent",
    "preempted": "the host, when a node is taken back",
    "timeout": "the core, when an attempt runs longer than its transform allows",
    "upstream": "the reader of an exchange, when its files are gone or damaged",
    "poison": "the core, when a task has killed runner after runner",
}


def failure_of(error: BaseException, origin: Origin, transient: Iterable[str] = ()) -> FailureRow:
    """Return the row that says what to make of an exception.

    `transient` are the names of classes, bare or with their module, of which the user said that
    they are worth another try; they are asked for what user code raises.
    """
    names = class_names(error)
    if origin == "code" and not names.isdisjoint(transient):
        return FailureRow(name="named in transient_errors", kind="transient", origin="code")
    number = error.errno if isinstance(error, OSError) else None
    remedy = getattr(error, "remedy", None)
    for row in FAILURES:
        if (
            (row.origin is None or row.origin == origin)
            and (not row.classes or not names.isdisjoint(row.classes))
            and (not row.errnos or number in row.errnos)
            and (not row.remedies or (origin != "code" and remedy in row.remedies))
        ):
            return row
    raise AssertionError("the last row matches everything")


def class_names(error: BaseException) -> set[str]:
    """Return what the class of an exception and its bases may be called by."""
    names = set()
    for cls in type(error).__mro__[:-1]:
        names |= {cls.__qualname__, f"{cls.__module__}.{cls.__qualname__}"}
    return names
