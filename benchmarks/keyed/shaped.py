"""Jobs on awkward rows: wide ones, long texts, lists. Read, transformed, grouped, written.

As functions of an Arrow table, for us; the SQL says the same of them.
"""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from rayorch.bench.shapes import WIDE_COLUMNS

BUCKETS: Final = 1_000
WIDE_NAMES: Final = tuple(f"c{number:03d}" for number in range(WIDE_COLUMNS))
WIDE_SUMS: Final = ", ".join(f"sum({name}) as {name}" for name in WIDE_NAMES)
WIDE_SQL: Final = f"""
    select bucket, count(*) as rows, {WIDE_SUMS}
    from (select *, id % {BUCKETS} as bucket from input) group by bucket
"""  # noqa: S608 - our own names
STRINGS_SQL: Final = """
    select upper(host) as name, count(*) as rows, sum(length(text)) as characters,
           sum(length(text) - length(replace(text, ' ', '')) + 1) as words
    from input group by name
"""
NESTED_SQL: Final = """
    select entry.item as item, count(*) as rows, sum(entry.price) as total
    from (select unnest(items) as entry from input) group by 1
"""


def bucketed(table: pa.Table) -> pa.Table:
    """Return wide rows with the bucket that each is in."""
    ids = table["id"]
    # Arrow has no remainder: integers are divided to the next one down.
    whole = pc.multiply(pc.divide(ids, BUCKETS), BUCKETS)
    return table.append_column("bucket", pc.subtract(ids, whole))


def measured_texts(table: pa.Table) -> pa.Table:
    """Return how long each text is, by the host in capitals."""
    return pa.table(
        {
            "name": pc.utf8_upper(table["host"]),
            "characters": pc.cast(pc.utf8_length(table["text"]), pa.int64()),
            "words": pc.cast(pc.add(pc.count_substring(table["text"], " "), 1), pa.int64()),
        }
    )


def entries(table: pa.Table) -> pa.Table:
    """Return a row for each entry of the lists."""
    found = pc.list_flatten(table["items"].combine_chunks())
    return pa.table(
        {"item": pc.struct_field(found, "item"), "price": pc.struct_field(found, "price")}
    )
