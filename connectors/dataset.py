"""Any dataset as a pyarrow dataset, for looking at results in a notebook or a test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from connectors.located import Located, located
from connectors.predicates import partition_expression
from connectors.source import discover, discovered_schema, open_reader
from connectors.splits import SourceSpec

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from connectors.splits import OptionValue

READ_BATCH_BYTES: Final = 64 << 20


def read_dataset(
    url: str,
    format: str | None = None,  # noqa: A002 - as pyarrow has it
    **options: OptionValue,
) -> ds.Dataset:
    """Return what is visible at a URL, through its manifest or Delta log where it has one.

    Parquet is scanned lazily; other formats are read into memory here.
    Raises: as `discover`.
    """
    import pyarrow.dataset as ds  # noqa: PLC0415 - slow to import; nothing else needs it

    spec = SourceSpec(name=url, urls=(url,), format=format, options=options)
    if "://" not in url or url.partition("://")[0] not in ("range", "mem-table"):
        found = located(spec)
        if found.format == "parquet":
            return _parquet(found, discovered_schema(spec, found))
    discovery, splits = discover(spec, slots=1)
    reader = open_reader(spec, discovery)
    tables = [table for split in splits for table in reader.batches(split, READ_BATCH_BYTES)]
    return ds.dataset(tables or [reader.schema.empty_table()], schema=reader.schema)


def _parquet(found: Located, schema: pa.Schema) -> ds.Dataset:
    import pyarrow.dataset as ds  # noqa: PLC0415 - as in read_dataset
    import pyarrow.fs as pafs  # noqa: PLC0415 - as in read_dataset

    from connectors.formats.store_files import StoreFiles  # noqa: PLC0415 - it imports pyarrow.fs

    paths = [found.listing.stores[file.root].local_path(file.key) for file in found.listing.files]
    # Arrow's threads may outlive the interpreter, which a file system in Python does not survive.
    local = all(path is not None for path in paths)
    files = pafs.LocalFileSystem() if local else pafs.PyFileSystem(StoreFiles(found.listing.stores))
    file_format = ds.ParquetFileFormat()
    fragments = [
        file_format.make_fragment(
            path if local else f"{file.root}/{file.key}",
            filesystem=files,
            partition_expression=partition_expression(file.values, schema),
        )
        for file, path in zip(found.listing.files, paths, strict=True)
    ]
    return ds.FileSystemDataset(fragments, schema, file_format, files)
