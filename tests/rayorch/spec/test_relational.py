"""Relational transforms as JSON: they survive it, and meet the same rules in it."""

import json
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

import rayorch as ro
from rayorch.spec import AggregateSpec, AsofSpec, PipelineSpec
from tests.rayorch.refusals import refusal
from tests.rayorch.test_aggregate import Longest


def same(rows: pa.Table) -> pa.Table:
    return rows


def test_all_operators_survive_their_json() -> None:
    nightly = ro.Pipeline("nightly")
    lines, parts = nightly.read("lines", "/lines"), nightly.read("parts", "/parts")
    own = (["a", "b"], Longest())
    share = ("a", "approx_quantile", 0.5)
    last = lines.aggregate("few", by="d", n=("*", "count"), s=share, f=("a", "first", "t"), o=own)
    last = last.join("joined", parts, on="d", how="full")
    last = last.join_asof("asof", parts, on="t", by="d", tolerance=timedelta(seconds=1.5))
    last = last.sort("sorted", ["a", "b"], descending=[False, True])
    last = last.dedupe("once", by="a", order="t")
    last = last.repartition("parted", "a", ranges=True, parts=3)
    last = last.window("running", by="a", order="t", n="rank", p=("x", "lag", 2, None))
    last.map_groups(same, by="a", schema=pa.schema({"a": pa.int64()})).write("/out")
    spec = nightly.spec()

    loaded = PipelineSpec.load(spec.dump())

    assert loaded == spec
    assert loaded.order()[-1] == "same"
    asof = loaded.transforms[2]
    assert isinstance(asof, AsofSpec)
    assert asof.tolerance == timedelta(seconds=1.5)


@pytest.mark.parametrize("tolerance", [2, 2.5, None, timedelta(0), timedelta(days=2)])
def test_a_tolerance_keeps_its_kind(tolerance: Any) -> None:
    nightly = ro.Pipeline("nightly")
    lines = nightly.read("lines", "/lines")
    lines.join_asof("x", lines, on="t", tolerance=tolerance).write("/out")

    (loaded,) = PipelineSpec.load(nightly.spec().dump()).transforms

    assert isinstance(loaded, AsofSpec)
    assert loaded.tolerance == tolerance
    assert type(loaded.tolerance) is type(tolerance)


def spec_json(**transform: Any) -> str:
    """A pipeline with one transform, as a person may write it."""
    return json.dumps(
        {
            "name": "nightly",
            "reads": [{"name": "lines", "urls": ["file:///data/*.parquet"]}],
            "transforms": [{"name": "few", "input": "lines", **transform}],
            "writes": [{"name": "few", "input": "few", "url": "file:///out"}],
        }
    )


def test_measures_may_be_written_as_lists() -> None:
    measures = {"n": ["*", "count"], "last": ["x", "last", "at"]}

    spec = PipelineSpec.load(spec_json(kind="aggregate", by=["day"], measures=measures))

    (few,) = spec.transforms
    assert isinstance(few, AggregateSpec)
    assert few.measures["n"].function == "count"
    assert [key.column for key in few.measures["last"].order] == ["at"]


def test_rules_between_fields_hold_in_json_and_say_where() -> None:
    text = spec_json(kind="aggregate", by=["day"], measures={"day": ["x", "sum"]})

    assert refusal(lambda: PipelineSpec.load(text)) == (
        "a new column has the name of a key. "
        "pipeline=nightly, transform=few, field=measures, value='day'\n"
        "  give it another name: day_2=..."
    )


def test_an_unknown_function_in_json_gets_a_near_miss() -> None:
    text = refusal(
        lambda: PipelineSpec.load(spec_json(kind="aggregate", measures={"n": ["x", "median"]}))
    )

    assert text.endswith("value='median'\n  did you mean 'approx_quantile'?")
