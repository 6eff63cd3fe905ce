"""The errors of reading and writing datasets.

ConnectorError
└── DataError
    ├── NoFilesError              fix     a URL that names nothing
    ├── UnknownFormatError        fix     a format that no connector reads or writes
    ├── OptionError               fix     an option of a source or sink that cannot be honoured
    ├── MissingColumnError        fix     a column that a projection, a predicate or a sink names
    ├── SchemaConflictError       fix     files of one source that have no common lossless schema
    ├── OutputSchemaConflictError fix     outputs of one sink that have no common schema
    ├── NoColumnsError            fix     an output of which nobody knows the columns
    ├── UnsupportedTypeError      fix     a type that a format cannot hold
    ├── CorruptFileError          fix     a file that is not what its name or its footer says
    ├── FileChangedError          retry   a file that changed after it was discovered: run again
    ├── PublishConflictError      retry   other writers took every version that we tried
    └── TableFaultError           report  a table library failed in a way that has no other name
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from connectors.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connectors.errors import Remedy

NAMES_SHOWN_MAX = 5


def near_miss(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known names closest to `name`, or nothing."""
    close = get_close_matches(name, list(known), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


class DataError(ConnectorError):
    """A dataset cannot be read or written as asked."""

    remedy: ClassVar[Remedy] = "fix"


class NoFilesError(DataError):
    """A URL of a source names no file that can be read."""

    def __init__(self, url: str, reason: str = "", near: tuple[str, ...] = ()) -> None:
        super().__init__(url, reason, near)
        self.url = url
        self.reason = reason
        self.near = near

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        near = f"; near by: {', '.join(self.near)}" if self.near else ""
        return f"no file matches{reason}{near}. url={self.url}"


class UnknownFormatError(DataError):
    """No connector reads or writes this format."""

    def __init__(self, url: str, format_name: str, known: tuple[str, ...]) -> None:
        super().__init__(url, format_name, known)
        self.url = url
        self.format_name = format_name
        self.known = known

    def __str__(self) -> str:
        said = f"unknown format {self.format_name!r}" if self.format_name else "format not told"
        near = near_miss(self.format_name, self.known)
        return f"{said}, known are {', '.join(self.known)}{near}. url={self.url}"


class OptionError(DataError):
    """An option of a source or sink cannot be honoured."""

    def __init__(self, owner: str, option: str, value: object, reason: str) -> None:
        super().__init__(owner, option, value, reason)
        self.owner = owner
        self.option = option
        self.value = value
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}. in={self.owner}, option={self.option}, value={self.value!r}"


class MissingColumnError(DataError):
    """A projection, a predicate or a sink names a column that is not there."""

    def __init__(self, owner: str, column: str, known: tuple[str, ...]) -> None:
        super().__init__(owner, column, known)
        self.owner = owner
        self.column = column
        self.known = known

    def __str__(self) -> str:
        near = near_miss(self.column, self.known) or "."
        shown = ", ".join(self.known[:NAMES_SHOWN_MAX])
        more = len(self.known) - NAMES_SHOWN_MAX
        rest = f" and {more} more" if more > 0 else ""
        return f"no column {self.column!r}{near} in={self.owner}, columns={shown}{rest}"


class SchemaConflictError(DataError):
    """Two files of one source hold a column in types without a common lossless type."""

    def __init__(
        self, column: str, file: str, type_: str, other_file: str, other_type: str, reason: str = ""
    ) -> None:
        super().__init__(column, file, type_, other_file, other_type, reason)
        self.column = column
        self.file = file
        self.type_ = type_
        self.other_file = other_file
        self.other_type = other_type
        self.reason = reason

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return (
            f"column {self.column!r} has no common lossless type{reason}: {self.type_} in "
            f"{self.file}, {self.other_type} in {self.other_file}; read them as two sources and "
            f"cast one before the union, or rewrite the files. column={self.column}"
        )


class OutputSchemaConflictError(DataError):
    """Outputs of one sink hold a column in two types."""

    def __init__(self, column: str, type_: str, other_type: str) -> None:
        super().__init__(column, type_, other_type)
        self.column = column
        self.type_ = type_
        self.other_type = other_type

    def __str__(self) -> str:
        return (
            f"column {self.column!r} is {self.type_} in one output and {self.other_type} in "
            f"another; return the same columns, cast to one type, for every batch. "
            f"column={self.column}"
        )


class NoColumnsError(DataError):
    """A table cannot be made of an output that has neither rows nor columns."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url

    def __str__(self) -> str:
        return (
            "the output has no rows, and what columns it would have is not known, because a "
            "function raised when it was given no rows: declare its result with schema=, or let "
            f"it return an empty table, and run again. url={self.url}"
        )


class UnsupportedTypeError(DataError):
    """A format cannot hold a column's type."""

    def __init__(self, format_name: str, column: str, type_: str, advice: str) -> None:
        super().__init__(format_name, column, type_, advice)
        self.format_name = format_name
        self.column = column
        self.type_ = type_
        self.advice = advice

    def __str__(self) -> str:
        return (
            f"{self.format_name} cannot hold column {self.column!r} of type {self.type_}; "
            f"{self.advice}. column={self.column}"
        )


class CorruptFileError(DataError):
    """A file is not what its name or its footer says."""

    def __init__(self, url: str, format_name: str, reason: str) -> None:
        super().__init__(url, format_name, reason)
        self.url = url
        self.format_name = format_name
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"not a readable {self.format_name} file: {self.reason}; restore or remove it. "
            f"file={self.url}"
        )


class FileChangedError(DataError):
    """A file changed, or went, after it was discovered."""

    remedy: ClassVar[Remedy] = "retry"

    def __init__(self, url: str, change: str) -> None:
        super().__init__(url, change)
        self.url = url
        self.change = change

    def __str__(self) -> str:
        return f"file {self.change} while the run goes; run again. file={self.url}"


class PublishConflictError(DataError):
    """Other writers took every version that a publish tried."""

    remedy: ClassVar[Remedy] = "retry"

    def __init__(self, url: str, tries: int) -> None:
        super().__init__(url, tries)
        self.url = url
        self.tries = tries

    def __str__(self) -> str:
        return f"other writers took the next version each time. url={self.url}, tries={self.tries}"


class TableFaultError(DataError):
    """A table library failed in a way that no other error describes. Publishing again is safe."""

    remedy: ClassVar[Remedy] = "report"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"the table could not be committed: {self.reason}. url={self.url}"
