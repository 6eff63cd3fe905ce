"""How a function's signature says in what form it wants its rows."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from rayorch.conventions import convention_of
from tests.rayorch.refusals import refusal

if TYPE_CHECKING:
    import polars  # noqa: ICN001 - under the name that the annotation has.


def plain(table):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    return table


def table(rows: pa.Table) -> pa.Table:
    return rows


def batch(rows: pa.RecordBatch) -> pa.Table:
    return rows


def frame(rows: pd.DataFrame) -> pd.DataFrame:
    return rows


def polars_frame(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow()


def relation(rows: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    return rows


def quoted(rows: "pd.DataFrame") -> "pd.DataFrame":
    return rows


def for_type_checkers(rows: "polars.DataFrame") -> "pa.Table":
    return rows.to_arrow()


def with_default(rows: pl.DataFrame, limit: int = 3) -> pl.DataFrame:
    return rows.head(limit)


def with_option(rows: pa.RecordBatch, *, limit: int) -> pa.RecordBatch:
    return rows.slice(0, limit)


class Scorer:
    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows

    def score(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return rows


@pytest.mark.parametrize(
    ("function", "convention"),
    [
        (plain, "arrow"),
        (table, "arrow"),
        (batch, "batch"),
        (frame, "pandas"),
        (polars_frame, "polars"),
        (relation, "duckdb"),
        (quoted, "pandas"),
        (for_type_checkers, "polars"),
        (with_default, "polars"),
        (functools.partial(with_option, limit=3), "batch"),
        (Scorer(), "pandas"),
        (Scorer().score, "batch"),
        (lambda *rows: rows[0], "arrow"),
        (len, "arrow"),
    ],
)
def test_the_annotation_of_its_parameter_says_what_it_takes(
    function: Callable[..., Any], convention: str
) -> None:
    assert convention_of(function) == convention


def test_a_lazy_frame_is_told_to_collect() -> None:
    def lazy(rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows

    assert "collect() it inside the function" in refusal(lambda: convention_of(lazy))


def test_a_function_that_returns_nothing_is_told_to_return_a_table() -> None:
    def nothing(rows: pa.Table) -> None:
        return None

    assert "return a table, even an empty one" in refusal(lambda: convention_of(nothing))


def test_a_keyword_only_parameter_without_a_default_is_refused() -> None:
    assert "needs 2 arguments" in refusal(lambda: convention_of(with_option))
