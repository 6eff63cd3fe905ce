"""What a sink is, and the files that writers leave for it to publish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from connectors.splits import OptionValue

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa


class SinkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a user asked to be written.

    `index` is the sink's number in its pipeline and comes back in every `SinkOutput`.
    `options` named `store.x` go to the store as `x`; the rest belong to the format.
    """

    name: str
    url: str
    format: str = "delta"
    mode: Literal["overwrite", "append"] = "overwrite"
    partition_by: tuple[str, ...] = ()
    options: dict[str, OptionValue] = msgspec.field(default_factory=dict)
    index: int = 0


class OutputFile(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A written file. `key` is relative to the sink's URL, `checksum` its xxh3_64 in hex.

    `values` are the partition's values as text; `stats` is the file's Delta statistics JSON.
    """

    key: str
    rows: int
    size_bytes: int
    checksum: str
    values: dict[str, str | None] | None = None
    stats: str | None = None


class SinkOutput(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one attempt wrote for one sink.

    `schema_fp` names the schema; `schema_ipc` may be dropped once a sink's schema of that
    fingerprint is known. An attempt without any batch has neither.
    """

    sink: int
    rows: int
    size_bytes: int
    files: tuple[OutputFile, ...]
    schema_fp: str = ""
    schema_ipc: bytes | None = None


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a publish has made visible: its own files, not what they were added to.

    `how_to_read` is one line of Python to paste.
    """

    version: str
    files: int
    rows: int
    size_bytes: int
    how_to_read: str


class SinkWriter(Protocol):
    """Writes one attempt's output; nothing is visible to readers before it is published."""

    def write(self, table: pa.Table) -> None:
        """Add rows. Raises: OutputSchemaConflictError, UnsupportedTypeError, store errors."""
        ...

    def close(self) -> SinkOutput:
        """Finish the files and say what they are."""
        ...

    def abort(self) -> None:
        """Leave nothing behind that has not been finished; never raises for a lost store."""
        ...


class Sink(Protocol):
    """One place that a pipeline writes to."""

    def open_writer(self, token: str, *, run: str) -> SinkWriter:
        """Start an attempt's output; its files' names begin with the token."""
        ...

    def publish(
        self,
        outputs: Iterable[SinkOutput],
        schema_ipc: bytes,
        *,
        app_id: str,
        generation: int,
        run: str = "",
    ) -> Published:
        """Make the outputs the visible content in one step; again is the same as once."""
        ...

    def sweep(self, run: str, keep: set[str], *, unfinished_before_s: float = 0.0) -> int:
        """Delete the run's files that `keep` does not name; say how many there were.

        What the run's writers left half-written before a time goes, too: say a time only when
        none of them lives.
        """
        ...

    def sweep_unfinished(self, run: str, before_s: float) -> int:
        """Remove what the run's writers left half-written before a time; say how much it was."""
        ...
