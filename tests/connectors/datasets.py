"""Write and read whole datasets in a line, for the tests of the formats."""

import pyarrow as pa
import pyarrow.compute as pc

from connectors.sink import Published, SinkOutput, SinkSpec, merge_output_schemas, open_sink
from connectors.source import Discovery, SourceSpec, Split, discover, open_reader
from connectors.splits import OptionValue

BATCH_BYTES = 1 << 20


def source(url: object, **fields: object) -> SourceSpec:
    return SourceSpec(**{"name": "src", "urls": (str(url),), **fields})  # type: ignore[arg-type]


def sink(url: object, **fields: object) -> SinkSpec:
    return SinkSpec(**{"name": "out", "url": str(url), "format": "parquet", **fields})  # type: ignore[arg-type]


def splits_of(spec: SourceSpec, slots: int = 2) -> tuple[Discovery, list[Split]]:
    return discover(spec, slots)


def read(
    spec: SourceSpec,
    columns: list[str] | None = None,
    predicate: pc.Expression | None = None,
    *,
    batch_bytes: int = BATCH_BYTES,
) -> pa.Table:
    discovery, splits = discover(spec, 2, predicate)
    reader = open_reader(spec, discovery, columns, predicate)
    tables = [table for split in splits for table in reader.batches(split, batch_bytes)]
    # Joining tables without columns would lose the number of their rows.
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables) if tables else reader.schema.empty_table()


def write(spec: SinkSpec, *tables: pa.Table, name: str = "0-0000000-0-1") -> SinkOutput:
    writer = open_sink(spec).open_writer(name, run="run-1")
    for table in tables:
        writer.write(table)
    return writer.close()


def publish(
    spec: SinkSpec, *outputs: SinkOutput, app: str = "app", generation: int = 1
) -> Published:
    schema = merge_output_schemas([o.schema_ipc for o in outputs if o.schema_ipc is not None])
    return open_sink(spec).publish(outputs, schema, app_id=app, generation=generation, run="run-1")


def options(**values: OptionValue) -> dict[str, OptionValue]:
    return {name.replace("__", "."): value for name, value in values.items()}
