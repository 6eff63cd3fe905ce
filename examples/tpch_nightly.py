"""A nightly job on TPC-H: what was ordered and what was shipped, as one Delta table, and totals.

    lineitem ── shipped ── revenue ──┐
                                     ├── ledger ──► Delta
    orders ──── placed (SQL) ────────┘     └── totals (aggregate) ──► Delta

`make demo` runs it and checks the tables against DuckDB on the same files. So do these, once the
data is there:

    rayorch plan examples/tpch_nightly.py
    rayorch run examples/tpch_nightly.py --set folder=.demo
"""

import argparse
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from tpch_data import tpch_data

import rayorch as ro

FOLDER = Path(__file__).parent.parent / ".demo"
SCALE, PARTS = 0.5, 16
SINCE = date(1995, 1, 1)
MONEY = pa.decimal128(18, 4)


def nightly_on(data: Path, ledger: Path) -> ro.Pipeline:
    """The pipeline, reading from one folder and writing to another."""
    nightly = ro.Pipeline(
        "tpch-nightly",
        owner="data-platform",
        objective=ro.Deadline(timedelta(minutes=30)),
        tags={"dataset": "tpch"},
    )
    lines = nightly.read("lineitem", f"{data}/lineitem/*.parquet")
    orders = nightly.read("orders", f"{data}/orders/*.parquet")

    @nightly.map(lines, columns=["l_orderkey", "l_shipdate", "l_extendedprice", "l_discount"])
    def shipped(lines: pa.Table) -> pa.Table:
        """Only lines of the years that the ledger is about."""
        return lines.filter(pc.field("l_shipdate") >= pa.scalar(SINCE))

    @nightly.map(shipped)
    def revenue(lines: pa.Table) -> pa.Table:
        """What each line brings in, in exact decimals."""
        paid = pc.subtract(pa.scalar(Decimal("1.00")), lines["l_discount"])
        return pa.table(
            {
                "entry": pa.repeat("shipped", lines.num_rows),
                "order_key": lines["l_orderkey"],
                "day": lines["l_shipdate"],
                "amount": pc.multiply(lines["l_extendedprice"], paid).cast(MONEY),
            }
        )

    placed = orders.sql(
        "placed",
        f"""
        select 'placed' as entry, o_orderkey as order_key, o_orderdate as day,
               o_totalprice::decimal(18, 4) as amount
        from input where o_orderdate >= date '{SINCE}'
        """,
    )
    entries = revenue.union("ledger", placed)
    entries.write(str(ledger))
    totals = entries.aggregate("totals", by="entry", rows=("*", "count"), amount=("amount", "sum"))
    totals.write(str(totals_of(ledger)))
    return nightly


def totals_of(ledger: Path) -> Path:
    """The folder beside the ledger where its totals go."""
    return ledger.with_name("totals")


# What `rayorch run` and `rayorch plan` find in this file.
nightly = nightly_on(
    data=Path(ro.param("folder", str(FOLDER))) / f"tpch-{SCALE:g}-{PARTS}",
    ledger=Path(ro.param("folder", str(FOLDER))) / "ledger",
)


def by_duckdb(data: Path) -> pa.Table:
    """What the ledger must say, computed from the same files by another engine."""
    return duckdb.sql(f"""
        with ledger as (
            select 'shipped' as entry, l_orderkey as order_key, l_shipdate as day,
                   l_extendedprice * (1 - l_discount) as amount
            from '{data}/lineitem/*.parquet'
            union all
            select 'placed', o_orderkey, o_orderdate, o_totalprice from '{data}/orders/*.parquet'
        )
        {SUMMARY} where day >= date '{SINCE}' group by all order by all
    """).to_arrow_table()


def by_rayorch(ledger: Path) -> pa.Table:
    """What the ledger says."""
    rows = duckdb.from_arrow(ro.read(str(ledger)).to_table())
    return rows.query("ledger", f"{SUMMARY} group by all order by all").to_arrow_table()


SUMMARY = """
    select entry, year(day) as year, count(*) as rows, sum(amount)::decimal(24, 4) as amount,
           sum(order_key)::hugeint::varchar as order_keys
    from ledger
"""


def check(data: Path, ledger: Path) -> bool:
    """Print both answers side by side; return whether they are equal."""
    theirs = by_duckdb(data)
    years = compare(by_rayorch(ledger).to_pylist(), theirs.to_pylist())
    totals = ro.read(str(totals_of(ledger))).to_table().sort_by("entry").to_pylist()
    sums = """
        select entry, sum(rows)::bigint as rows, sum(amount) as amount
        from years group by 1 order by 1
    """
    whole = duckdb.from_arrow(theirs).query("years", sums).to_arrow_table().to_pylist()
    return compare(totals, whole) and years


def compare(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> bool:
    """Print two answers side by side; return whether they are equal."""
    print(f"{'entry':<8} {'year':>4} {'rows':>10} {'amount':>22}   DuckDB on the same files")
    for mine, other in zip(ours, theirs, strict=False):
        verdict = "equal" if mine == other else f"{other['rows']:,} rows, {other['amount']:,}"
        print(
            f"{mine['entry']:<8} {mine.get('year', 'all'):>4} {mine['rows']:>10,} "
            f"{mine['amount']:>22,}   {verdict}"
        )
    return ours == theirs


def main() -> int:
    """Make the data, run the pipeline, check the result."""
    parser = argparse.ArgumentParser(description="A nightly job on TPC-H data.")
    parser.add_argument("--scale", type=float, default=SCALE, help="of TPC-H; 1 is 7.5 M rows")
    parser.add_argument("--parts", type=int, default=PARTS, help="files of each table")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="for data, home and output")
    parser.add_argument("--executor", choices=["ray", "in-process"], help="what executes")
    options = parser.parse_args()
    folder = options.folder.absolute()
    data = tpch_data(folder, options.scale, options.parts)
    ledger = folder / "ledger"
    try:
        ro.run(nightly_on(data, ledger), home=str(folder / "home"), executor=options.executor)
    except ro.RayorchError as error:
        print(error, file=sys.stderr)
        return 1
    equal = check(data, ledger)
    print("every number is equal" if equal else "THE NUMBERS DIFFER")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
