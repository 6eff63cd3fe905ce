"""Expressions in the words of SQL: checked against DuckDB on the same rows."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest

from rayorch.expressions import parsed_expression
from tests.rayorch.refusals import refusal

ROWS = pa.table(
    {
        "id": [1, 2, 3, 4, 5],
        "qty": [1, 10, None, 40, -3],
        "price": [1.5, 0.0, 2.5, None, -1.0],
        "word": ["alpha", "beta", None, "it's", "alps"],
        "a b": [True, False, None, True, False],
        "day": pa.array(["2026-01-01", "2026-06-01", None, "2027-01-01", "2025-01-01"]).cast(
            pa.date32()
        ),
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "qty > 3",
        "qty = 10 or qty <> 1",
        "not qty > 3",
        "not (qty > 3 and price >= 0)",
        "qty is null",
        "qty IS NOT NULL AND price is not null",
        "qty in (1, 40)",
        "qty not in (1, 40)",
        "qty in (-3)",
        "qty between 1 and 10",
        "qty not between 1 and 10",
        "word like 'al%'",
        "word not like 'al%'",
        "word = 'it''s'",
        '"a b" = true',
        '"a b"',
        "day >= date '2026-01-01'",
        "qty * 2 + 1 > 20 - 1",
        "-qty > 0",
        "price / 2.0 < 1e0",
        "qty + 1 * 2 = 3",
        "(qty + 1) * 2 = 4",
        "qty > 1 or qty > 100 and qty > 200",
        "not not qty = 1",
    ],
)
def test_rows_are_those_that_duckdb_keeps(text: str) -> None:
    with duckdb.connect() as database:
        rows = ROWS  # noqa: F841 - DuckDB finds it by name.
        query = f"select id from rows where {text}"  # noqa: S608 - it is our own text.
        expected = database.sql(query).fetchall()

    kept = ds.dataset(ROWS).to_table(columns=["id"], filter=parsed_expression(text))

    assert sorted(kept["id"].to_pylist()) == sorted(row[0] for row in expected)


def test_a_dot_leads_into_a_struct() -> None:
    assert parsed_expression("place.city = 'Rome'").equals(pc.field("place", "city") == "Rome")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", "\n  \n  ^ a value should stand here"),
        ("qty >", "\n  qty >\n       ^ a value should stand here"),
        ("qty > 1 qty", "\n  qty > 1 qty\n          ^ the expression should end here"),
        ("(qty > 1", "\n  (qty > 1\n          ^ ')' should stand here"),
        ("qty # 1", "\n  qty # 1\n     ^ this is not understood"),
        ("qty not 1", "\n  qty not 1\n          ^ in, between or like should follow not"),
        (
            "day > date 'soon'",
            "\n  day > date 'soon'\n             ^ write it like date '2026-11-22'",
        ),
        ("a in ()", "\n  a in ()\n        ^ a value should stand here"),
    ],
)
def test_what_is_not_understood_is_pointed_at(text: str, shown: str) -> None:
    expected = f"an expression cannot be understood. field=expression{shown}"

    assert refusal(lambda: parsed_expression(text)) == expected


def test_brackets_without_end_are_refused() -> None:
    text = refusal(lambda: parsed_expression("(" * 10_000))

    assert text.endswith("more than 100 levels of brackets")
