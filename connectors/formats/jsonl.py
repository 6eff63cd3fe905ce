"""JSON Lines: an object a line; large files are cut at line ends without being read first.

NaN and the infinities are written as Python's own json does, and read back.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.json as pajson
import pyarrow.types as pt

from connectors.data_errors import UnsupportedTypeError
from connectors.formats.file_format import (
    FileFacts,
    conformed,
    read_failure,
    rows_without_columns,
)
from connectors.formats.text import (
    LOOK_BYTES,
    agreed_types,
    block_bytes,
    check_options,
    for_each_file,
    is_compressed,
    opened_text,
    told_types,
    translated,
    with_types,
)
from connectors.splitting import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.formats.file_format import Output, PartRead
    from connectors.listing import FoundFile, Listing
    from connectors.splits import OptionValue

JSONL: Final = "JSON Lines"
OPTIONS: Final = ("types", "file_bytes")
UNIT_BYTES: Final = 8 << 20
# One line of more than this is no line of data.
LINE_BYTES_MAX: Final = 1 << 30


class JsonLinesFormat:
    """Files of JSON objects, one a line."""

    name = "jsonl"
    suffixes: tuple[str, ...] = (".jsonl", ".ndjson", ".json")

    def facts(self, listing: Listing, options: Mapping[str, OptionValue]) -> list[FileFacts]:
        """Guess the columns' types from each file's first megabyte of lines."""
        check_options(JSONL, options, OPTIONS)
        told = told_types(JSONL, options)
        guessed = for_each_file(listing, lambda file: _guessed(listing, file))
        agreed = agreed_types(guessed, told, text_fits_all=False)
        return [
            FileFacts(
                schema=with_types(schema, agreed),
                rows=None if schema is not None else 0,
                units=_units(file) if schema is not None else (),
            )
            for file, schema in zip(listing.files, guessed, strict=True)
        ]

    def tables(self, read: PartRead) -> Iterator[pa.Table]:
        """Yield the part's rows, block by block."""
        return translated(_tables(read), read.url, JSONL)

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> JsonLinesWriter:
        """Start a file."""
        return JsonLinesWriter(output, schema, options)


def _guessed(listing: Listing, file: FoundFile) -> pa.Schema | None:
    """Return the schema of a file's beginning, or None when the file is empty."""
    with opened_text(listing.stores[file.root], file.key) as source:
        try:
            block = next(line_blocks(source, 0, 0, LOOK_BYTES), b"")
            return _parsed(block, None).schema if block.strip() else None
        except (pa.ArrowInvalid, OSError) as error:
            raise read_failure(listing.url(file), JSONL, error) from error


def _units(file: FoundFile) -> tuple[Unit, ...]:
    size_bytes = file.size_bytes
    if is_compressed(file.key) or size_bytes <= UNIT_BYTES:
        return (Unit(size_bytes),)
    cuts = [*range(0, size_bytes, UNIT_BYTES), size_bytes]
    return tuple(Unit(end - start, start=start, end=end) for start, end in pairwise(cuts))


def _tables(read: PartRead) -> Iterator[pa.Table]:
    wanted = pa.schema([field.with_type(_readable(field.type)) for field in read.schema])
    part = read.part
    with opened_text(read.store, part.key) as source:
        for block in line_blocks(source, part.start, part.end, block_bytes(read.batch_bytes)):
            if not block.strip():
                continue
            table = _parsed(block, wanted)
            if not len(wanted):
                yield rows_without_columns(sum(1 for line in block.splitlines() if line.strip()))
                continue
            yield conformed(table, read.schema, read.url)


def _parsed(block: bytes, wanted: pa.Schema | None) -> pa.Table:
    parse = pajson.ParseOptions(
        explicit_schema=wanted,
        unexpected_field_behavior="infer" if wanted is None else "ignore",
    )
    read = pajson.ReadOptions(use_threads=False, block_size=len(block) + 1)
    return pajson.read_json(pa.BufferReader(block), read_options=read, parse_options=parse)


def line_blocks(source: pa.NativeFile, start: int, end: int, size_bytes: int) -> Iterator[bytes]:
    """Yield the lines that begin in start..end, whole, in blocks of about this size.

    A line belongs to the range in which its first byte is, so that neighbouring ranges give each
    line once. `end` = 0 is the file's end.
    """
    position = start
    if start:
        # The byte before tells whether a line begins exactly here.
        source.seek(start - 1)
        position = start - 1
        skipped = _line_end(source)
        position += skipped
        if end and position >= end:
            return
    rest = b""
    while True:
        # `position` is where `rest` begins.
        block = source.read(size_bytes)
        data = rest + block
        if end and position + len(data) >= end:
            yield from _last_block(source, data, end - position)
            return
        if not block:
            if data:
                yield data
            return
        cut = data.rfind(b"\n") + 1
        if len(data) - cut > LINE_BYTES_MAX:
            raise pa.ArrowInvalid(f"a line is longer than {LINE_BYTES_MAX} bytes")
        if cut:
            yield data[:cut]
            position += cut
        rest = data[cut:]


def _line_end(source: pa.NativeFile) -> int:
    """Read to the end of the line; leave the source there, and return how far that was."""
    begin = source.tell()
    passed = 0
    while chunk := source.read(1 << 16):
        found = chunk.find(b"\n")
        if found >= 0:
            passed += found + 1
            source.seek(begin + passed)
            break
        passed += len(chunk)
    return passed


def _last_block(source: pa.NativeFile, data: bytes, end: int) -> Iterator[bytes]:
    """Yield data up to the end of the line that holds the byte before `end`."""
    found = data.find(b"\n", end - 1)
    while found < 0:
        more = source.read(1 << 16)
        if not more:
            break
        seen = len(data)
        data += more
        found = data.find(b"\n", seen)
    last = data if found < 0 else data[: found + 1]
    if last:
        yield last


def _readable(type_: pa.DataType) -> pa.DataType:
    """Return the type to parse JSON as; what is not JSON's own is text, and cast afterwards."""
    if pt.is_boolean(type_) or pt.is_integer(type_) or type_ in (pa.float32(), pa.float64()):
        return type_
    if pt.is_struct(type_):
        return pa.struct([field.with_type(_readable(field.type)) for field in type_])
    if pt.is_list(type_) or pt.is_large_list(type_) or pt.is_fixed_size_list(type_):
        return pa.list_(_readable(type_.value_type))
    return pa.float64() if pt.is_float16(type_) else pa.string()


class JsonLinesWriter:
    """An open JSON Lines output file."""

    def __init__(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> None:
        check_options(JSONL, options, OPTIONS)
        for field in schema:
            _check_writable(field.type, field)
        self._output = output

    def write(self, table: pa.Table) -> None:
        """Append the rows."""
        texts = [column.cast(_written(column.type)) for column in table.columns]
        rows = pa.Table.from_arrays(texts, table.schema.names).to_pylist()
        encode = _ENCODER.encode
        self._output.write("".join([encode(row) + "\n" for row in rows]).encode())

    def close(self) -> str | None:
        """Do nothing: lines are complete."""
        return None


def _written(type_: pa.DataType) -> pa.DataType:
    """Return what a column is before it becomes JSON: exact text for what JSON has no word for."""
    if pt.is_dictionary(type_):
        return _written(type_.value_type)
    exact_as_text = pt.is_timestamp(type_) or pt.is_date(type_) or pt.is_decimal(type_)
    return pa.string() if exact_as_text else type_


def _check_writable(type_: pa.DataType, field: pa.Field) -> None:
    for child in range(type_.num_fields):
        _check_writable(type_.field(child).type, field)
    refused = (pt.is_map, pt.is_time, pt.is_duration, pt.is_binary, pt.is_large_binary)
    if any(kind(type_) for kind in refused) or pt.is_fixed_size_binary(type_):
        advice = "write Arrow or Parquet, or turn it into text"
        raise UnsupportedTypeError(JSONL, field.name, str(type_), advice)


def _plain_value(value: object) -> Any:  # noqa: ANN401 - what json may encode next
    if isinstance(value, datetime | date):
        return value.isoformat()
    assert isinstance(value, Decimal), type(value)
    return str(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain_value)
