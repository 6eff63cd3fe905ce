"""DuckDB inside an attempt: one thread, bounded memory, nothing but its input."""

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from rayorch.runner.sql import MEMORY_BYTES_MIN, limit_duckdb, query_result, this_threads_duckdb

duckdb = pytest.importorskip("duckdb")

TABLE = pa.table({"id": [1, 2, 3], "s": pa.array(["a", "b", "a"]).dictionary_encode()})


def test_a_query_sees_its_batch_and_leaves_nothing_behind() -> None:
    made = query_result(TABLE, "select s, sum(id)::bigint as n from input group by s order by s", 0)

    assert made.to_pydict() == {"s": ["a", "b"], "n": [4, 2]}
    with pytest.raises(duckdb.CatalogException):
        this_threads_duckdb().execute("select * from input")


def test_the_order_of_rows_is_kept() -> None:
    table = pa.table({"id": range(300_000)})

    made = query_result(table, "select id from input where id % 2 = 0", 1 << 30)

    assert made["id"].to_pylist() == list(range(0, 300_000, 2))


def test_a_query_cannot_name_our_variables() -> None:
    with pytest.raises(duckdb.CatalogException):
        query_result(TABLE, "select * from connection", 0)


def test_an_error_leaves_the_connection_usable() -> None:
    with pytest.raises(duckdb.BinderException):
        query_result(TABLE, "select nope from input", 0)

    assert query_result(TABLE, "select count(*) as n from input", 0)["n"].to_pylist() == [3]


def test_each_thread_has_its_own_connection() -> None:
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(this_threads_duckdb).result()

    assert this_threads_duckdb() is this_threads_duckdb()
    assert other is not this_threads_duckdb()


def test_threads_and_memory_are_limited() -> None:
    limit_duckdb(512 << 20)
    settings = "select current_setting('threads'), current_setting('memory_limit')"

    assert this_threads_duckdb().execute(settings).fetchone() == (1, "512.0 MiB")

    limit_duckdb(0)
    found = this_threads_duckdb().execute(settings).fetchone()
    assert found is not None
    assert found[1] == f"{MEMORY_BYTES_MIN >> 20}.0 MiB"
