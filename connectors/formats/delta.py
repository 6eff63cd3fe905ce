"""Write Delta tables: Parquet files put in place first, then added to the log in one transaction.

The transaction carries the application id and generation of its publisher. delta-rs does not
refuse one that is already there, so the newest log is looked up first, and a commit that some
other writer got in front of is not repeated blindly but looked up again.
"""

from __future__ import annotations

import contextlib
import re
import time
from itertools import chain
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from connectors.data_errors import (
    NoColumnsError,
    OptionError,
    OutputSchemaConflictError,
    PublishConflictError,
    TableFaultError,
)
from connectors.errors import StoreUnsureError
from connectors.formats.delta_create import FIRST_VERSION_KEY, first_version
from connectors.formats.delta_log import open_table, table_uri
from connectors.formats.delta_stats import delta_stats
from connectors.formats.delta_types import delta_schema, delta_table
from connectors.formats.files import store_options
from connectors.formats.files_sink import published, quoted, sweep
from connectors.formats.outputs import FilesWriter
from connectors.formats.parquet import ParquetFileWriter, ParquetFormat
from connectors.schema import load_schema, plain_schema
from connectors.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deltalake import CommitProperties, DeltaTable
    from deltalake.transaction import AddAction

    from connectors.formats.file_format import Output
    from connectors.outputs import OutputFile, Published, SinkOutput, SinkSpec
    from connectors.splits import OptionValue

DATA: Final = "data/"
PUBLISH_TRIES_MAX: Final = 50
# A fault that is not a conflict is looked up and tried once more: the reply may have been lost.
_DRAWING: Final = re.compile(r"\x1b\[[0-9;]*m|[\u2500-\u257f\u21b3]")
FAULTS_MAX: Final = 2
# Features whose rules a writer of plain files would break.
_UNKEPT_FEATURES: Final = frozenset(
    [
        "checkConstraints",
        "columnMapping",
        "generatedColumns",
        "icebergCompatV1",
        "icebergCompatV2",
        "identityColumns",
        "rowTracking",
    ]
)


class DeltaFileFormat(ParquetFormat):
    """Parquet files that say their statistics when they are closed."""

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> _DeltaFile:
        """Start a file."""
        return _DeltaFile(output, schema, options)


class _DeltaFile(ParquetFileWriter):
    def close(self) -> str:
        super().close()
        return delta_stats(self.footer, self.schema)


class DeltaSink:
    """Files under `data/<run>/` of a Delta table, made visible by one transaction."""

    def __init__(self, spec: SinkSpec) -> None:
        self._spec = spec
        self._uri = table_uri(spec.url)
        self._options = store_options(spec.options)
        self._store = open_store(spec.url, self._options)
        self._format = DeltaFileFormat()

    def open_writer(self, token: str, *, run: str) -> FilesWriter:
        """Start an attempt's output."""
        spec = self._spec
        return FilesWriter(
            self._store,
            self._format,
            sink=spec.index,
            # No partition directories: the log has the values, and names need no escaping.
            name_of=lambda number, _: f"{DATA}{run}/{token}-{number:05d}.parquet",
            partition_by=spec.partition_by,
            options=spec.options,
            owner=spec.name,
            fit=delta_table,
        )

    def publish(
        self,
        outputs: Iterable[SinkOutput],
        schema_ipc: bytes,
        *,
        app_id: str,
        generation: int,
        run: str = "",
    ) -> Published:
        """Add the outputs in one transaction, unless the log has it already.

        An output without rows whose columns nobody knows keeps those of the table.
        Raises: PublishConflictError after many tries, OutputSchemaConflictError, OptionError for
        a table that is partitioned otherwise or uses features that we would break; NoColumnsError.
        """
        del run
        # Ours to import late: 60 ms, for those who write Delta only.
        from deltalake import CommitProperties, Transaction  # noqa: PLC0415
        from deltalake.exceptions import CommitFailedError, DeltaError  # noqa: PLC0415

        files = tuple(chain.from_iterable(output.files for output in outputs))
        actions = [_add_action(file) for file in files]
        schema = delta_schema(load_schema(schema_ipc))
        faults = 0
        for _ in range(PUBLISH_TRIES_MAX):
            table = open_table(self._spec.url, self._options)
            if table is None:
                if not schema.names:
                    # delta-rs makes a table without columns, and then nobody can read it.
                    raise NoColumnsError(self._spec.url)
                self._create(schema, actions, app_id, generation)
                continue
            version = table.transaction_version(app_id)
            if version is not None and version >= generation:
                return published(files, str(table.version()), self._how_to_read())
            # The snapshot is pinned: a commit of the same application since then conflicts.
            properties = CommitProperties(app_transactions=[Transaction(app_id, generation)])
            try:
                self._commit(table, actions, schema, properties)
            except CommitFailedError:
                continue
            except (DeltaError, OSError) as error:
                faults += 1
                if faults > FAULTS_MAX:
                    raise TableFaultError(self._spec.url, _plain(str(error))) from error
        raise PublishConflictError(self._spec.url, PUBLISH_TRIES_MAX)

    def sweep(self, run: str, keep: set[str], *, unfinished_before_s: float = 0.0) -> int:
        """Delete the run's files that `keep` does not name, and what dead writers left."""
        return sweep(self._store, f"{DATA}{run}/", keep, unfinished_before_s)

    def sweep_unfinished(self, run: str, before_s: float) -> int:
        """Remove what the run's dead writers left half-written."""
        return self._store.sweep_unfinished(f"{DATA}{run}/", before_s)

    def _how_to_read(self) -> str:
        return f"deltalake.DeltaTable({quoted(self._uri)}).to_pyarrow_table()"

    def _create(
        self, schema: pa.Schema, actions: list[AddAction], app_id: str, generation: int
    ) -> None:
        """Try to create the table with the files in it; what came of it, the next look tells."""
        data = first_version(
            _declared(schema),
            self._spec.partition_by,
            actions,
            app_id=app_id,
            generation=generation,
            at_ms=_now_ms(),
        )
        with contextlib.suppress(StoreUnsureError):
            self._store.put_if_absent(FIRST_VERSION_KEY, data)

    def _commit(
        self,
        table: DeltaTable,
        actions: list[AddAction],
        schema: pa.Schema,
        properties: CommitProperties,
    ) -> None:
        """Try one transaction: replace what the table holds, or add to it."""
        # Imported late for the reason in `publish`.
        from deltalake import Schema  # noqa: PLC0415

        partition_by = list(self._spec.partition_by)
        self._check(table)
        append = self._spec.mode == "append"
        keeps = append or not schema.names
        declared = self._evolved(table, schema) if keeps else _declared(schema)
        table.create_write_transaction(
            [*actions],
            self._spec.mode,
            Schema.from_arrow(declared),
            partition_by=partition_by,
            commit_properties=properties,
        )

    def _check(self, table: DeltaTable) -> None:
        """Refuse a table that plain files would break."""
        there = table.metadata().partition_columns
        if there != list(self._spec.partition_by):
            reason = f"the table is partitioned by {', '.join(there) or 'nothing'}"
            raise OptionError(self._spec.name, "partition_by", self._spec.partition_by, reason)
        features = sorted(_UNKEPT_FEATURES.intersection(table.protocol().writer_features or []))
        if features:
            reason = f"the table uses {', '.join(features)}, which files put in place would break"
            raise OptionError(self._spec.name, "url", self._spec.url, reason)

    def _evolved(self, table: DeltaTable, schema: pa.Schema) -> pa.Schema:
        """Return the table's schema, with our new columns added to it first.

        Adding files with a column that the log does not know loses it without a word, and so
        does one of another type.
        """
        from deltalake import Schema  # noqa: PLC0415 - as in `publish`

        known = plain_schema(pa.schema(table.schema().to_arrow()))
        for field in schema:
            if field.name in known.names:
                there = known.field(field.name).type
                if field.type != there and not pa.types.is_null(field.type):
                    raise OutputSchemaConflictError(field.name, str(there), str(field.type))
        missing = [field for field in _declared(schema) if field.name not in known.names]
        if missing:
            table.alter.add_columns(Schema.from_arrow(pa.schema(missing)).fields)
        return pa.schema([*known, *missing])


def _declared(schema: pa.Schema) -> pa.Schema:
    """Return the schema as the log declares it.

    Delta has no type for a column of nulls only; text it is. Columns are nullable, for a later
    output may lack them.
    """
    fields = []
    for field in schema:
        type_ = pa.string() if pa.types.is_null(field.type) else field.type
        fields.append(pa.field(field.name, type_))
    return pa.schema(fields)


def _add_action(file: OutputFile) -> AddAction:
    from deltalake.transaction import AddAction  # noqa: PLC0415 - as in `publish`

    return AddAction(
        path=file.key,
        size=file.size_bytes,
        # An empty text is no value, by Delta's own rule.
        partition_values={name: value or None for name, value in (file.values or {}).items()},
        # When it became part of the table; nothing is decided by it.
        modification_time=_now_ms(),
        data_change=True,
        stats=file.stats or "{}",
    )


def _now_ms() -> int:
    # Connectors sit below the clock that the rest of the project shares; no decision rests on it.
    return int(time.time() * 1000)  # noqa: TID251


def _plain(text: str) -> str:
    """Return an error of the table library on one line, without its colours and drawing."""
    return " ".join(_DRAWING.sub(" ", text).split())
