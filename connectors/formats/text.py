"""What text formats share: decompression by name, types guessed from files' beginnings."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import pyarrow as pa
import pyarrow.types as pt

from connectors.data_errors import OptionError, near_miss
from connectors.formats.file_format import read_failure
from connectors.schema import common_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from connectors.listing import FoundFile, Listing
    from connectors.splits import OptionValue
    from connectors.store import Store

LOOKS_AT_ONCE: Final = 32
# How much of each file's beginning decides the types of its columns.
LOOK_BYTES: Final = 1 << 20
BLOCK_BYTES_MIN: Final = 1 << 20
BLOCK_BYTES_MAX: Final = 16 << 20
_CODECS: Final = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}

T = TypeVar("T")


def is_compressed(key: str) -> bool:
    """Say whether the file's name says that it is compressed."""
    return key.lower().endswith(tuple(_CODECS))


def opened_text(store: Store, key: str) -> pa.NativeFile:
    """Open a file for reading from its beginning, decompressed as its name says."""
    source = store.open_input(key)
    for suffix, codec in _CODECS.items():
        if key.lower().endswith(suffix):
            return pa.CompressedInputStream(source, codec)
    return source


def block_bytes(batch_bytes: int) -> int:
    """Return how much text to parse at once: its table, and the next block, are held beside it."""
    return max(BLOCK_BYTES_MIN, min(batch_bytes // 4, BLOCK_BYTES_MAX))


def for_each_file(listing: Listing, look: Callable[[FoundFile], T]) -> list[T]:
    """Look into every file: in turn where that is fast, at once where each look is a request."""
    local = all(store.local_path("x") is not None for store in listing.stores)
    if local or len(listing.files) < LOOKS_AT_ONCE:
        return [look(file) for file in listing.files]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        return list(pool.map(look, listing.files))


def check_options(
    format_name: str, options: Mapping[str, OptionValue], known: Sequence[str]
) -> None:
    """Refuse an option that the format does not have. Raises: OptionError, with a near miss."""
    for name, value in options.items():
        if name not in known and not name.startswith("store."):
            reason = f"{format_name} has no such option{near_miss(name, known)}"
            raise OptionError(format_name, name, value, reason)


def told_types(format_name: str, options: Mapping[str, OptionValue]) -> dict[str, pa.DataType]:
    """Return the types of option `types`, as in "id=int64, code=string". Raises: OptionError."""
    told = {}
    for item in str(options.get("types", "")).split(","):
        name, _, alias = item.rpartition("=")
        if not item.strip():
            continue
        try:
            told[name.strip()] = pa.type_for_alias(alias.strip())
        except ValueError as error:
            reason = f"types are given as name=type, ...; {error}"
            raise OptionError(format_name, "types", options["types"], reason) from error
    return told


def agreed_types(
    schemas: Iterable[pa.Schema | None], told: Mapping[str, pa.DataType], *, text_fits_all: bool
) -> dict[str, pa.DataType]:
    """Return one type for each column of guessed schemas.

    Whole numbers and fractions agree on float64. What does not agree is text, where every value
    can be read as that; else the first type stays, and reading refuses the values.
    """
    agreed: dict[str, pa.DataType] = {}
    for schema in schemas:
        for field in schema or ():
            known = agreed.get(field.name)
            joined = field.type if known is None else _agreed(known, field.type)
            agreed[field.name] = joined or (pa.string() if text_fits_all else known)
    # A column without a value anywhere is text: every type could come later.
    nameless = {n: pa.string() for n, type_ in agreed.items() if pt.is_null(type_)}
    return {**agreed, **nameless, **told}


def _agreed(ours: pa.DataType, theirs: pa.DataType) -> pa.DataType | None:
    if pt.is_integer(ours) and pt.is_floating(theirs):
        return theirs
    if pt.is_floating(ours) and pt.is_integer(theirs):
        return ours
    return common_type(ours, theirs)


def with_types(schema: pa.Schema | None, agreed: Mapping[str, pa.DataType]) -> pa.Schema | None:
    """Return the schema with the types that were agreed."""
    if schema is None:
        return None
    return pa.schema([pa.field(name, agreed[name]) for name in schema.names])


def translated(batches: Iterator[T], url: str, format_name: str) -> Iterator[T]:
    """Pass on what is read; a parser's error becomes ours."""
    try:
        yield from batches
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise read_failure(url, format_name, error) from error
