"""What each keyed job is, as SQL over `input` and `other`, in the order of columns of the result.

All sides write Parquet files, because that is what a result is to us; the SQL is also DuckDB's
side of it.
"""

from datetime import date
from typing import Final

import msgspec

from benchmarks.keyed.shaped import NESTED_SQL, STRINGS_SQL, WIDE_NAMES, WIDE_SQL

COLUMNS: Final = ("id", "key", "item", "device", "ts", "qty", "price", "note")


class Keyed(msgspec.Struct, frozen=True):
    """One job."""

    sql: str
    inputs: tuple[str, ...]  # what it reads of `input`
    order: str = ""  # the column in whose order the rows are to be


KEYED: Final = {
    "group": Keyed(
        """select key, sum(price) as total, avg(price) as mean, count(*) as rows
           from input group by key""",
        ("key", "price"),
    ),
    "join": Keyed(
        """select category, sum(price) as total, sum(cost) as costs, count(*) as rows
           from input join other using (item) group by category""",
        ("item", "price"),
    ),
    "join-wide": Keyed(
        "select input.*, category, cost from input join other using (item)",
        COLUMNS,
    ),
    "star": Keyed(
        """select region, sum(price) as total, count(*) as rows
           from input join other using (device) group by region""",
        ("device", "price"),
    ),
    "sort": Keyed("select * from input order by key", COLUMNS, order="key"),
    "asof": Keyed(
        """select input.id, input.device, input.ts, input.price, other.at, other.level
           from input asof left join other
           on input.device = other.device and input.ts >= other.at""",
        ("id", "device", "ts", "price"),
    ),
    "wide-rows": Keyed(WIDE_SQL, ("id", *WIDE_NAMES)),
    "strings": Keyed(STRINGS_SQL, ("host", "text")),
    "nested": Keyed(NESTED_SQL, ("items",)),
    # On TPC-H: sums of exact decimals, so that all sides can be held against each other.
    "tpch-summary": Keyed(
        """select l_returnflag, l_linestatus, sum(l_quantity) as quantity,
                  sum(l_extendedprice) as price, count(*) as rows
           from input where l_shipdate <= date '1998-09-02' group by all""",
        ("l_returnflag", "l_linestatus", "l_quantity", "l_extendedprice", "l_shipdate"),
    ),
    "tpch-join": Keyed(
        """select o_orderpriority, sum(l_quantity) as quantity, count(*) as rows
           from input join other on l_orderkey = o_orderkey group by o_orderpriority""",
        ("l_orderkey", "l_quantity"),
    ),
}
SUMMARY_UNTIL: Final = date(1998, 9, 2)
