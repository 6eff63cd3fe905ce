"""What a source is, what it was found to hold, and the chunks that tasks read.

All of it is plain data: a spec comes from the user, a discovery and its splits travel to the
runners, and a reader rebuilds from them without listing anything again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

HIVE_NULL: Final = "__HIVE_DEFAULT_PARTITION__"

OptionValue: TypeAlias = str | int | bool


class SourceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked to be read.

    `options` named `store.x` go to the store as `x`; the rest belong to the format.
    `split_bytes` is the size a split aims at, on disk; without it, a size is chosen.
    """

    name: str
    urls: tuple[str, ...]
    format: str | None = None
    options: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    split: Literal["auto", "file"] = "auto"
    split_bytes: int | None = None


class FilePart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file, or some of its row groups or bytes, as it was when it was discovered.

    `key` is relative to `Discovery.roots[root]`. `size_bytes` and `version` are the whole
    file's, so that a reader can tell that it changed. `end` = 0 means the file's end. Of all that,
    only the rows from `first` to `last` (0: to the end) are read, counted before any filter.
    """

    key: str
    size_bytes: int
    version: str = ""
    root: int = 0
    rows: int | None = None
    row_groups: tuple[int, ...] | None = None
    groups: int = 0  # of a whole file: how many row groups it has; 0: not known
    start: int = 0
    end: int = 0
    first: int = 0
    last: int = 0
    values: dict[str, str | None] = msgspec.field(default_factory=dict)


class Split(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one task reads: parts of files, or the numbers lo..hi of a source without files.

    taken: said by a reader that divides what it reads by itself, of a piece of what it would read.
    """

    parts: tuple[FilePart, ...] = ()
    rows: int | None = None
    size_bytes: int = 0
    lo: int = 0
    hi: int = 0
    taken: bytes = b""


class Discovery(msgspec.Struct, frozen=True, kw_only=True):
    """What a source held when it was discovered.

    `files` are (url, size, version), for the record; a reader does not need them.
    """

    format: str
    schema_ipc: bytes
    roots: tuple[str, ...] = ()
    files: tuple[tuple[str, int, str], ...] = ()
    rows: int | None = None
    size_bytes: int = 0


class Reader(Protocol):
    """Reads splits of one source; safe to use from several threads at once."""

    @property
    def schema(self) -> pa.Schema:
        """The schema of every batch."""
        ...

    def batches(self, split: Split, batch_bytes: int) -> Iterator[pa.Table]:
        """Yield the rows of the split in order, in tables of about `batch_bytes` at most."""
        ...

    def describe(self, split: Split) -> str:
        """Say which files and row groups the split reads, for an error's text."""
        ...
