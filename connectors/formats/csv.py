"""CSV: types guessed from the beginning of every file, agreed on by all, then enforced.

An empty field is null, a quoted empty field is an empty text, and nothing else is null unless
option `null_values` ("NA|-") says so: "NA" is also a country.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.csv as pacsv

from connectors.data_errors import UnsupportedTypeError
from connectors.formats.file_format import FileFacts, conformed, read_failure
from connectors.formats.text import (
    LOOK_BYTES,
    agreed_types,
    block_bytes,
    check_options,
    for_each_file,
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

CSV: Final = "CSV"
OPTIONS: Final = (
    "delimiter",
    "quote",
    "escape",
    "header",
    "skip_rows",
    "encoding",
    "newlines_in_values",
    "null_values",
    "types",
    "file_bytes",
)


class CsvFormat:
    """CSV files; `.tsv` ones are separated by tabs unless an option says otherwise."""

    name = "csv"
    suffixes: tuple[str, ...] = (".csv", ".tsv")

    def facts(self, listing: Listing, options: Mapping[str, OptionValue]) -> list[FileFacts]:
        """Guess the columns' types from each file's first megabyte."""
        check_options(CSV, options, OPTIONS)
        told = told_types(CSV, options)
        guessed = for_each_file(listing, lambda file: _guessed(listing, file, options))
        agreed = agreed_types(guessed, told, text_fits_all=True)
        return [
            FileFacts(
                schema=with_types(schema, agreed),
                # Nothing in an empty file: no unit, no task.
                rows=None if schema is not None else 0,
                units=(Unit(file.size_bytes),) if schema is not None else (),
            )
            for file, schema in zip(listing.files, guessed, strict=True)
        ]

    def tables(self, read: PartRead) -> Iterator[pa.Table]:
        """Yield the file's rows, block by block."""
        return translated(_tables(read), read.url, CSV)

    def open_file(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> CsvFileWriter:
        """Start a file with a header."""
        return CsvFileWriter(output, schema, options)


def _guessed(
    listing: Listing, file: FoundFile, options: Mapping[str, OptionValue]
) -> pa.Schema | None:
    """Return the schema of a file's beginning, or None when the file is empty."""
    if file.size_bytes == 0:
        return None
    with opened_text(listing.stores[file.root], file.key) as source:
        try:
            with pacsv.open_csv(
                source,
                read_options=_read_options(options, LOOK_BYTES),
                parse_options=_parse_options(file.key, options),
                convert_options=pacsv.ConvertOptions(**_null_options(options)),
            ) as reader:
                return reader.schema
        except (pa.ArrowInvalid, OSError) as error:
            if "Empty CSV" in str(error):
                return None
            raise read_failure(listing.url(file), CSV, error) from error


def _tables(read: PartRead) -> Iterator[pa.Table]:
    convert = pacsv.ConvertOptions(
        column_types={field.name: field.type for field in read.schema},
        include_columns=read.schema.names,
        include_missing_columns=True,
        **_null_options(read.options),
    )
    with (
        opened_text(read.store, read.part.key) as source,
        pacsv.open_csv(
            source,
            read_options=_read_options(read.options, block_bytes(read.batch_bytes)),
            parse_options=_parse_options(read.part.key, read.options),
            convert_options=convert,
        ) as reader,
    ):
        for batch in reader:
            table = pa.Table.from_batches([batch])
            if not len(read.schema):
                # Arrow reads every column when none is asked for; only the count is wanted.
                table = table.select([])
            yield conformed(table, read.schema, read.url)


def _read_options(options: Mapping[str, OptionValue], size_bytes: int) -> pacsv.ReadOptions:
    return pacsv.ReadOptions(
        use_threads=False,
        block_size=size_bytes,
        skip_rows=int(options.get("skip_rows", 0)),
        autogenerate_column_names=not options.get("header", True),
        encoding=str(options.get("encoding", "utf8")),
    )


def _parse_options(key: str, options: Mapping[str, OptionValue]) -> pacsv.ParseOptions:
    tabs = ".tsv" in key.rpartition("/")[2].lower()
    return pacsv.ParseOptions(
        delimiter=str(options.get("delimiter", "\t" if tabs else ",")),
        quote_char=options.get("quote", '"') or False,
        escape_char=options.get("escape", False),
        newlines_in_values=bool(options.get("newlines_in_values", True)),
    )


def _null_options(options: Mapping[str, OptionValue]) -> dict[str, Any]:
    return {
        "null_values": ["", *str(options.get("null_values", "")).split("|")],
        "strings_can_be_null": True,
        "quoted_strings_can_be_null": False,
    }


class CsvFileWriter:
    """An open CSV output file."""

    def __init__(
        self, output: Output, schema: pa.Schema, options: Mapping[str, OptionValue]
    ) -> None:
        check_options(CSV, options, OPTIONS)
        for field in schema:
            if pa.types.is_nested(field.type):
                advice = "write JSON Lines, Arrow or Parquet, or turn it into text"
                raise UnsupportedTypeError(CSV, field.name, str(field.type), advice)
        self._schema = pa.schema([field.with_type(_plain(field.type)) for field in schema])
        write_options = pacsv.WriteOptions(delimiter=str(options.get("delimiter", ",")))
        self._writer = pacsv.CSVWriter(output, self._schema, write_options=write_options)

    def write(self, table: pa.Table) -> None:
        """Append the rows."""
        self._writer.write_table(conformed(table, self._schema, CSV))

    def close(self) -> str | None:
        """Write what is left."""
        self._writer.close()
        return None


def _plain(type_: pa.DataType) -> pa.DataType:
    """Return a type that CSV is read back as; the manifest keeps the column's own."""
    if pa.types.is_dictionary(type_):
        return type_.value_type
    return pa.float32() if pa.types.is_float16(type_) else type_
