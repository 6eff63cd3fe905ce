"""Read any dataset: find it, cut it into splits, read a split.

discovery, splits = discover(spec, slots=4)
reader = open_reader(spec, discovery)
for table in reader.batches(splits[0], batch_bytes=64 << 20): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from connectors.formats.files import FilesReader
from connectors.formats.numbered import NumberedReader
from connectors.formats.registry import file_format_of, numbered_source
from connectors.hive import distinct_values, value_fields
from connectors.listing import FoundFile, Listing
from connectors.located import Located, located
from connectors.predicates import partitions_that_may_match
from connectors.schema import SchemaOf, dump_schema, unified, usual_schema
from connectors.splits import Discovery, FilePart, OptionValue, Reader, SourceSpec, Split
from connectors.splitting import Chunk, one_split_per_file, packed, target_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.compute as pc

    from connectors.formats.file_format import FileFacts, FileFormat
    from connectors.range_cache import RangeCache

__all__ = [
    "Discovery",
    "FilePart",
    "OptionValue",
    "Reader",
    "SourceSpec",
    "Split",
    "discover",
    "open_reader",
]


def discover(
    spec: SourceSpec, slots: int, predicate: pc.Expression | None = None
) -> tuple[Discovery, list[Split]]:
    """Find what a source holds now, and cut it into splits for this many slots.

    A predicate leaves out the partitions that cannot hold a matching row.
    Raises: NoFilesError, UnknownFormatError, CorruptFileError, SchemaConflictError,
    MissingColumnError, StoreError.
    """
    assert slots > 0, slots
    numbered = numbered_source(spec.urls)
    if numbered is not None:
        return numbered.discover(spec, slots)
    found = located(spec)
    file_format = file_format_of(spec.urls[0], found.format)
    if predicate is not None:
        found = _pruned(found, predicate, file_format, spec)
    facts = file_format.facts(found.listing, spec.options)
    schema = _schema(found, facts)
    splits = _splits(spec, slots, found.listing, facts)
    return _discovery(file_format.name, found.listing, facts, schema), splits


def discovered_schema(spec: SourceSpec, found: Located) -> pa.Schema:
    """Return the schema that files are read as. Raises: as `discover`."""
    file_format = file_format_of(spec.urls[0], found.format)
    return _schema(found, file_format.facts(found.listing, spec.options))


def open_reader(
    spec: SourceSpec,
    discovery: Discovery,
    columns: list[str] | None = None,
    predicate: pc.Expression | None = None,
    cache: RangeCache | None = None,
) -> Reader:
    """Return what reads the splits of a discovery; of its `files` nothing is needed.

    Files that are not of this machine are read through the cache, where there is one.

    Raises: MissingColumnError, with a near miss; OptionError for a predicate that cannot be.
    """
    numbered = numbered_source(spec.urls)
    if numbered is not None:
        rows = numbered.rows(spec)
        return NumberedReader(
            rows, discovery, owner=spec.name, columns=columns, predicate=predicate
        )
    return FilesReader(
        file_format_of(spec.urls[0], discovery.format),
        discovery,
        spec.options,
        owner=spec.name,
        columns=columns,
        predicate=predicate,
    ).through(cache)


def _schema(found: Located, facts: Sequence[FileFacts]) -> pa.Schema:
    """Unify the schemas and add the partition columns; a path's value wins over the file's.

    A table declares the types of its partition columns; of a plain path they are guessed.
    """
    files = found.listing.files
    in_files = [
        SchemaOf(found.listing.url(file), fact.schema)
        for file, fact in zip(files, facts, strict=False)
        if fact.schema is not None
    ]
    # What a table declares holds for all of its files: text formats only guess.
    schemas = list(found.declared) if found.all_declared else [*found.declared, *in_files]
    whole = unified(schemas) if schemas else pa.schema([])
    declared = {name for one in found.declared for name in one.schema.names}
    guessed = {
        field.name: field
        for field in value_fields([file.values for file in files])
        if field.name not in declared
    }
    kept = [field for field in whole if field.name not in guessed]
    return usual_schema(pa.schema([*kept, *guessed.values()]))


def _pruned(
    found: Located, predicate: pc.Expression, file_format: FileFormat, spec: SourceSpec
) -> Located:
    """Leave out the files of partitions in which no row can pass."""
    listing = found.listing
    rows = distinct_values(file.values for file in listing.files)
    if not any(rows):
        return found
    # One file tells the names; where it lacks one that the predicate needs, nothing is left out.
    first = file_format.facts(Listing(listing.stores, listing.files[:1]), spec.options)
    keep = partitions_that_may_match(predicate, rows, _schema(found, first))
    kept = {tuple(row.items()) for row, may in zip(rows, keep, strict=True) if may}
    files = tuple(file for file in listing.files if tuple(file.values.items()) in kept)
    # One file stays, so that the schema is known: its rows are filtered when it is read.
    listing = Listing(listing.stores, files or listing.files[:1])
    return msgspec.structs.replace(found, listing=listing)


def _splits(
    spec: SourceSpec, slots: int, listing: Listing, facts: Sequence[FileFacts]
) -> list[Split]:
    units = [fact.units for fact in facts]
    if spec.split == "file":
        chunks = one_split_per_file(units)
    else:
        size_bytes = sum(file.size_bytes for file in listing.files)
        target = spec.split_bytes or target_bytes(size_bytes, len(units), slots)
        chunks = packed(units, target)
    return [_split(listing.files, facts, chunk) for chunk in chunks]


def _split(
    files: Sequence[FoundFile], facts: Sequence[FileFacts], chunks: Sequence[Chunk]
) -> Split:
    parts = tuple(_part(files[chunk.file], facts[chunk.file], chunk) for chunk in chunks)
    rows = [part.rows for part in parts if part.rows is not None]
    return Split(
        parts=parts,
        rows=sum(rows) if len(rows) == len(parts) else None,
        size_bytes=sum(unit.size_bytes for chunk in chunks for unit in chunk.units),
    )


def _part(file: FoundFile, facts: FileFacts, chunk: Chunk) -> FilePart:
    if chunk.whole:
        groups, rows, start, end = None, facts.rows, 0, 0
        whole = len(chunk.units) if chunk.units and chunk.units[0].part >= 0 else 0
    else:
        units = chunk.units
        known = [unit.rows for unit in units if unit.rows is not None]
        rows = sum(known) if len(known) == len(units) else None
        groups = tuple(unit.part for unit in units) if units[0].part >= 0 else None
        start, end = units[0].start, units[-1].end
        whole = 0
    return FilePart(
        key=file.key,
        size_bytes=file.size_bytes,
        version=file.version,
        root=file.root,
        rows=rows,
        row_groups=groups,
        groups=whole if whole > 1 else 0,
        start=start,
        end=end,
        values=file.values,
    )


def _discovery(
    format_name: str, listing: Listing, facts: Sequence[FileFacts], schema: pa.Schema
) -> Discovery:
    rows = [fact.rows for fact in facts if fact.rows is not None]
    return Discovery(
        format=format_name,
        schema_ipc=dump_schema(schema),
        roots=tuple(store.url for store in listing.stores),
        files=tuple((listing.url(f), f.size_bytes, f.version) for f in listing.files),
        rows=sum(rows) if len(rows) == len(facts) else None,
        size_bytes=sum(file.size_bytes for file in listing.files),
    )
