"""Results as tables: what is in them, and what is left out."""

from rayorch.bench.tables import sides_rows
from tests.rayorch.bench import make


def test_memory_is_a_column_where_it_was_measured() -> None:
    without = sides_rows(make.results(make.runs("scan", "rayorch", [1.0, 1.2])))
    some = make.runs("memory", "rayorch", [1.0], peak_bytes=5_000_000)
    with_it = sides_rows(make.results(make.runs("scan", "rayorch", [1.0, 1.2]), some))

    assert "peak MB>" not in without.columns
    at = with_it.columns.index("peak MB>")
    assert [row[at] for row in with_it.rows] == ["", "5"]
    for found in (without, with_it):
        assert {len(row) for row in found.rows} == {len(found.columns)}
