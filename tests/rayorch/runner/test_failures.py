"""Each way to fail has the kind that selects the right treatment: the table, walked."""

import errno

import pyarrow as pa
import pytest

from connectors import errors as store_errors
from connectors.data_errors import CorruptFileError, FileChangedError, MissingColumnError
from connectors.errors import ConnectorError
from rayorch.core.values import FAILURE_KINDS, FailureKind
from rayorch.runner.errors import ResultError
from rayorch.runner.failures import BUG, FAILURES, MADE_ELSEWHERE, Origin, failure_of

duckdb = pytest.importorskip("duckdb")


class ThrottledError(Exception):
    """What a user's client may raise."""


class SlowDownError(ThrottledError):
    """A kind of it."""


EXAMPLES: list[tuple[str, BaseException, Origin, FailureKind]] = [
    ("out of memory", MemoryError(), "code", "oom"),
    ("out of memory", pa.ArrowMemoryError("malloc of size 9 failed"), "engine", "oom"),
    ("out of memory", duckdb.OutOfMemoryException("no"), "code", "oom"),
    ("the user's code raised", ValueError("7"), "code", "user"),
    ("the user's code raised", ConnectionResetError(errno.ECONNRESET, "reset"), "code", "user"),
    ("the user's code raised", SystemExit(3), "code", "user"),
    ("the user's code raised", OSError(errno.ENOSPC, "full"), "code", "user"),
    ("an input changed while the run goes", FileChangedError("f", "grew"), "engine", "refused"),
    (
        "worth another try",
        store_errors.StoreUnavailableError("u", "k", "503"),
        "engine",
        "transient",
    ),
    ("may have happened", store_errors.StoreUnsureError("u", "k", "cut"), "engine", "transient"),
    ("a person must act", CorruptFileError("f", "parquet", "no footer"), "engine", "refused"),
    ("a person must act", MissingColumnError("lines", "a", ("b",)), "engine", "refused"),
    ("a person must act", store_errors.StoreFullError("u", "k", "full"), "engine", "refused"),
    (
        "a store that we do not understand",
        store_errors.StoreFaultError("u", "k", "418"),
        "engine",
        "transient",
    ),
    ("a person must act", ResultError("returned None", "return"), "engine", "refused"),
    ("no room", OSError(errno.ENOSPC, "full"), "engine", "refused"),
    ("no room", OSError(errno.EDQUOT, "quota"), "engine", "refused"),
    ("may not write", OSError(errno.EROFS, "read-only"), "engine", "refused"),
    ("not allowed", PermissionError(errno.EACCES, "no"), "engine", "refused"),
    ("not there", FileNotFoundError(errno.ENOENT, "gone"), "engine", "refused"),
    ("the network or a disk hiccuped", TimeoutError(), "engine", "transient"),
    ("the network or a disk hiccuped", ConnectionRefusedError(), "engine", "transient"),
    ("I/O that may pass", OSError(errno.EIO, "disk"), "engine", "transient"),
    ("I/O without a number", OSError("AWS Error SLOW_DOWN"), "engine", "transient"),
    (
        "a program whose modules the runners lack",
        ModuleNotFoundError("no module"),
        "load",
        "refused",
    ),
    ("a module that the runners lack", ModuleNotFoundError("no module"), "code", "user"),
    ("a program that does not load", AttributeError("no attribute 'f'"), "load", "refused"),
    ("a program that does not load", SystemExit(1), "load", "refused"),
    ("worth another try", store_errors.StoreUnavailableError("u", "k", "503"), "load", "transient"),
    ("I/O that may pass", OSError(errno.EIO, "disk"), "load", "transient"),
    ("bytes or values that Arrow refuses", pa.ArrowInvalid("bad"), "engine", "refused"),
    ("a bug of ours", KeyError("x"), "engine", "refused"),
    ("a bug of ours", ModuleNotFoundError("no module"), "engine", "refused"),
]


@pytest.mark.parametrize("origin", ["code", "load"])
def test_a_missing_module_is_told_of_with_the_command_that_installs_it(origin: Origin) -> None:
    row = failure_of(ModuleNotFoundError("No module named 'lightgbm'"), origin)

    assert "`rayorch submit FILE --address http://HEAD:8265 --pip PACKAGE`" in row.advice


@pytest.mark.parametrize(("name", "error", "origin", "kind"), EXAMPLES)
def test_an_exception_has_its_row(
    name: str, error: BaseException, origin: Origin, kind: FailureKind
) -> None:
    row = failure_of(error, origin)

    assert (row.name, row.kind) == (name, kind)


def test_every_row_has_an_example() -> None:
    assert {name for name, *_ in EXAMPLES} == {row.name for row in FAILURES}


def test_every_kind_is_made_here_or_said_to_be_made_elsewhere() -> None:
    made_here = {row.kind for row in FAILURES}

    assert made_here | MADE_ELSEWHERE.keys() == set(FAILURE_KINDS)
    assert not made_here & MADE_ELSEWHERE.keys()


def test_what_a_person_must_do_is_said() -> None:
    """By the row, or by the error itself, whose text ends in advice."""
    silent = [
        row.name
        for row in FAILURES
        if row.kind in ("refused", "user", "oom") and not row.advice and not row.remedies
    ]

    assert not silent


def test_the_last_row_takes_everything() -> None:
    assert FAILURES[-1] is BUG
    assert (BUG.origin, BUG.classes, BUG.errnos, BUG.remedies) == (
        None,
        frozenset(),
        frozenset(),
        frozenset(),
    )


def test_every_remedy_of_a_connector_has_a_row() -> None:
    def classes(of: type[ConnectorError]) -> list[type[ConnectorError]]:
        return [of, *(deep for cls in of.__subclasses__() for deep in classes(cls))]

    remedies = {cls.remedy for cls in classes(ConnectorError)}

    assert remedies <= {"report"} | {remedy for row in FAILURES for remedy in row.remedies}


@pytest.mark.parametrize(
    "name", ["ThrottledError", f"{__name__}.ThrottledError", f"{__name__}.SlowDownError"]
)
def test_what_the_user_named_is_tried_again(name: str) -> None:
    """Bare or with the module; a base class names its kinds too."""
    row = failure_of(SlowDownError(), "code", [name])

    assert row.kind == "transient"


def test_what_the_user_named_does_not_change_our_own_errors() -> None:
    assert failure_of(KeyError("x"), "engine", ["KeyError"]) is BUG


def test_a_remedy_of_a_users_exception_is_not_ours() -> None:
    """A user may raise one of our connectors' errors, or have an attribute of that name."""
    error = store_errors.StoreUnavailableError("u", "k", "503")

    assert failure_of(error, "code").kind == "user"
