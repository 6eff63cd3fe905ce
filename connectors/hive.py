"""Partition values in paths: `day=2026-11-22/hour=7/`, read, typed, and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import pyarrow as pa

from connectors.splits import HIVE_NULL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

INT64_DIGITS_MAX: Final = 18
# What Spark leaves alone in a partition's directory name; the rest is percent-encoded.
_SAFE: Final = " !$()+,-.;<>@[]^_`{}~&|"


def path_values(key: str) -> dict[str, str | None]:
    """Return the `name=value` directories of a key, decoded; the empty dict if there is none."""
    if "=" not in key:
        return {}
    values: dict[str, str | None] = {}
    for segment in key.split("/")[:-1]:
        name, equals, value = segment.partition("=")
        if equals and name:
            values[unquote(name)] = None if value == HIVE_NULL else unquote(value)
    return values


def path_of(values: Mapping[str, str | None]) -> str:
    """Return the directories, ending in a slash, that `path_values` reads back."""
    return "".join(f"{_encoded(name)}={_encoded(value)}/" for name, value in values.items())


def _encoded(text: str | None) -> str:
    if text is None or text == "":
        return HIVE_NULL
    return quote(text, safe=_SAFE)


def value_fields(values: Sequence[Mapping[str, str | None]]) -> list[pa.Field]:
    """Return the partition columns: int64 where every value is an integer, else string."""
    kinds: dict[str, pa.DataType] = {}
    distinct: dict[str, set[str]] = {}
    for row in values:
        for name, value in row.items():
            seen = distinct.setdefault(name, set())
            if value is not None:
                seen.add(value)
    for name, seen in distinct.items():
        integers = bool(seen) and all(map(_is_integer, seen))
        kinds[name] = pa.int64() if integers else pa.string()
    return [pa.field(name, kind) for name, kind in kinds.items()]


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    # "007" is a code, not a number: reading it as 7 would lose the zeros.
    plain = digits.isascii() and digits.isdigit() and (digits == "0" or digits[0] != "0")
    return plain and len(digits) <= INT64_DIGITS_MAX


def value_array(value: str | None, type_: pa.DataType, rows: int) -> pa.Array:
    """Return a partition's value as a column of `rows` equal values."""
    if value is None:
        return pa.nulls(rows, type_)
    if pa.types.is_string(type_):
        return pa.repeat(pa.scalar(value), rows)
    return pa.repeat(pa.scalar(value).cast(type_), rows)


def distinct_values(rows: Iterable[Mapping[str, str | None]]) -> list[dict[str, str | None]]:
    """Return each combination of partition values once, in the order met."""
    return list({tuple(row.items()): dict(row) for row in rows}.values())
