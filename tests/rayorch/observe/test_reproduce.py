import json
import platform
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from connectors.splits import Discovery
from rayorch.api import Pipeline
from rayorch.compiling import compile_program, pipeline_version
from rayorch.home import RunPlan, StagePlan
from rayorch.observe.reproduce import input_files, reproduce_record
from rayorch.params import param_scope


def _record(factor: int = 2, url: str = "s3://bucket/orders/*.parquet") -> dict[str, Any]:
    def double(table: pa.Table) -> pa.Table:
        return table.slice(0, factor)

    # What other pipelines of this process asked `param` for is not this one's.
    with param_scope({}):
        pipeline = Pipeline("nightly", params={"day": "2026-11-22"})
    orders = pipeline.read("orders", url)
    orders.filter("amount > 0", output="paid").map(double, output="doubled").write("s3://bucket/o")
    spec, program = pipeline.spec(), compile_program(pipeline)
    return reproduce_record(spec, program, pipeline_version(spec, program))


def test_the_record_names_pipeline_parameters_code_and_places() -> None:
    record = _record()

    assert record["pipeline"] == "nightly"
    assert record["params"] == {"day": "2026-11-22"}
    assert "doubled" in record["code"]
    assert record["sources"] == {"orders": ["s3://bucket/orders/*.parquet"]}
    assert record["sinks"] == ["s3://bucket/o"]
    assert record["python"]["version"] == platform.python_version()
    assert json.loads(json.dumps(record)) == record


def test_the_version_and_the_code_hash_follow_the_code() -> None:
    first, same, other = _record(2), _record(2), _record(3)

    assert first == same
    assert first["version"] != other["version"]
    assert first["code"]["doubled"] != other["code"]["doubled"]


def test_no_path_of_this_machine_is_in_the_record() -> None:
    text = json.dumps(_record())

    for path in (Path.cwd(), Path(sys.prefix), Path(__file__).parent):
        assert str(path) not in text
    assert platform.node() not in text


def test_a_password_in_a_url_is_not_in_the_record() -> None:
    record = _record(url="s3://key:hunter2@bucket/orders/*.parquet")

    assert "hunter2" not in json.dumps(record)


@pytest.mark.parametrize("size_bytes", [0, 17])
def test_input_files_are_listed_with_size_and_version(size_bytes: int) -> None:
    file = ("s3://bucket/orders/1.parquet", size_bytes, "etag-1")
    found = Discovery(format="parquet", schema_ipc=b"", files=(file,))

    assert input_files(RunPlan((StagePlan(found, ()),))) == [
        {"source": 0, "url": file[0], "size_bytes": size_bytes, "version": "etag-1"}
    ]
