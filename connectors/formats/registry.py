"""The formats, found by name, and the name of a file's format."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

from connectors.data_errors import UnknownFormatError
from connectors.errors import BadUrlError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.formats.file_format import FileFormat
    from connectors.formats.numbered import NumberedSource

# By name, so that a run imports only the libraries of the formats that it reads or writes.
_FILE_FORMATS: Final[Mapping[str, tuple[str, str]]] = {
    "parquet": ("connectors.formats.parquet", "ParquetFormat"),
    "csv": ("connectors.formats.csv", "CsvFormat"),
    "jsonl": ("connectors.formats.jsonl", "JsonLinesFormat"),
    "arrow": ("connectors.formats.arrow", "ArrowFormat"),
}
_NUMBERED: Final[Mapping[str, tuple[str, str]]] = {
    "range://": ("connectors.formats.ranges", "RangeSource"),
    "mem-table://": ("connectors.formats.tables", "TableSource"),
}
_SUFFIXES: Final[Mapping[str, str]] = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".ipc": "arrow",
    ".feather": "arrow",
}
COMPRESSED: Final = (".gz", ".zst", ".bz2", ".lz4")
FORMATS: Final = (*_FILE_FORMATS, "delta")


def file_format_of(url: str, name: str) -> FileFormat:
    """Return the format of this name. Raises: UnknownFormatError, with a near miss."""
    place = _FILE_FORMATS.get(name)
    if place is None:
        raise UnknownFormatError(url, name, FORMATS)
    module, class_name = place
    return cast("FileFormat", getattr(importlib.import_module(module), class_name)())


def numbered_source(urls: Sequence[str]) -> NumberedSource | None:
    """Return the source without files that the URL's scheme names, or None.

    Raises: BadUrlError, when such a URL is one of several.
    """
    schemes = {f"{url.partition('://')[0]}://" for url in urls}
    named = schemes & _NUMBERED.keys()
    if not named:
        return None
    if len(urls) > 1:
        raise BadUrlError(urls[0], f"a source reads several URLs, but one {named.pop()} only")
    module, class_name = _NUMBERED[named.pop()]
    return cast("NumberedSource", getattr(importlib.import_module(module), class_name)())


def format_of_names(url: str, keys: Sequence[str]) -> str:
    """Return the format that the files' suffixes tell.

    Raises: UnknownFormatError, when they tell none, or more than one.
    """
    told = {_format_of_name(key) for key in keys}
    told.discard("")
    if len(told) != 1:
        raise UnknownFormatError(url, " and ".join(sorted(told)), FORMATS)
    return told.pop()


def _format_of_name(key: str) -> str:
    name = key.rpartition("/")[2].lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return _SUFFIXES.get("." + name.rpartition(".")[2], "")
