import json
from datetime import timedelta
from typing import Any

from rayorch.spec import Deadline, PipelineSpec
from tests.rayorch.refusals import refusal


def spec_json(**changes: Any) -> str:
    """A pipeline of one read, one map and one write, as JSON."""
    fields: dict[str, Any] = {
        "name": "nightly",
        "reads": [{"name": "lines", "urls": ["file:///data/*.parquet"]}],
        "transforms": [transform("shipped", "lines")],
        "writes": [{"name": "shipped", "input": "shipped", "url": "file:///out"}],
    }
    return json.dumps({**fields, **changes})


def transform(name: str, input_name: str) -> dict[str, Any]:
    return {"kind": "map", "name": name, "input": input_name, "function": name}


def test_a_spec_survives_its_own_json() -> None:
    spec = PipelineSpec.load(
        spec_json(objective={"kind": "deadline", "within": "PT30M"}, owner="data", tags={"a": "b"})
    )

    assert spec.objective == Deadline(timedelta(minutes=30))
    assert PipelineSpec.load(spec.dump()) == spec


def test_a_cycle_is_printed_as_a_path() -> None:
    looped = [transform("b", "a"), transform("a", "c"), transform("c", "b")]

    assert refusal(lambda: PipelineSpec.load(spec_json(transforms=looped, writes=[]))) == (
        "the pipeline has a cycle. "
        "pipeline=nightly, transform=b, field=input, value=b -> c -> a -> b\n"
        "  a dataset cannot depend on itself; read one of these from storage instead"
    )


def test_a_transform_that_reads_itself_is_a_cycle() -> None:
    text = refusal(
        lambda: PipelineSpec.load(spec_json(transforms=[transform("a", "a")], writes=[]))
    )

    assert "value=a -> a" in text


def test_an_unknown_input_gets_a_near_miss() -> None:
    text = refusal(lambda: PipelineSpec.load(spec_json(transforms=[transform("shipped", "line")])))

    assert text == (
        "unknown input. pipeline=nightly, transform=shipped, field=input, value='line'\n"
        "  did you mean 'lines'?"
    )


def test_an_unknown_input_without_a_near_miss_lists_what_is_known() -> None:
    text = refusal(lambda: PipelineSpec.load(spec_json(transforms=[transform("shipped", "zzz")])))

    assert text.endswith("value='zzz'\n  known datasets: 'lines', 'shipped'")


def test_two_transforms_that_write_one_dataset_are_refused() -> None:
    twice = [transform("shipped", "lines"), transform("shipped", "lines")]

    assert refusal(lambda: PipelineSpec.load(spec_json(transforms=twice))) == (
        "two transforms write one dataset. "
        "pipeline=nightly, transform=shipped, field=output, value='shipped'\n"
        "  give one of them another name"
    )


def test_two_writes_to_one_place_are_refused() -> None:
    write = {"name": "again", "input": "lines", "url": "file:///out/"}
    spec = json.loads(spec_json())

    text = refusal(lambda: PipelineSpec.load(spec_json(writes=[*spec["writes"], write])))

    assert text == (
        "two writes go to one place. "
        "pipeline=nightly, transform=again, field=url, value='file:///out/'\n"
        "  the other is 'shipped'"
    )


def test_a_dataset_that_nobody_uses_is_refused() -> None:
    parts = [transform("shipped", "lines"), transform("late", "lines")]

    assert refusal(lambda: PipelineSpec.load(spec_json(transforms=parts))) == (
        "a dataset is made but never used. "
        "pipeline=nightly, transform=late, field=output, value='late'\n"
        "  write it with .write(url), or say that only its side effects matter with .discard()"
    )


def test_a_pipeline_without_a_write_is_refused_unless_it_discards() -> None:
    assert refusal(lambda: PipelineSpec.load(spec_json(writes=[]))) == (
        "the pipeline writes nothing. pipeline=nightly\n"
        "  end with .write(url), or with .discard() if only side effects matter"
    )
    assert PipelineSpec.load(spec_json(writes=[], discards=["shipped"])).discards == ("shipped",)


def test_a_discard_of_an_unknown_dataset_gets_a_near_miss() -> None:
    text = refusal(lambda: PipelineSpec.load(spec_json(discards=["shiped"])))

    assert text == (
        "unknown input. pipeline=nightly, field=discard, value='shiped'\n  did you mean 'shipped'?"
    )


def test_a_misspelt_field_says_where_it_is_and_what_was_meant() -> None:
    reads = [{"name": "lines", "url": ["file:///x"]}]

    assert refusal(lambda: PipelineSpec.load(spec_json(reads=reads))) == (
        "unknown field. pipeline=nightly, field=reads.0.url\n  did you mean 'urls'?"
    )


def test_text_that_is_no_json_is_refused() -> None:
    assert refusal(lambda: PipelineSpec.load("{")).startswith("invalid JSON")
