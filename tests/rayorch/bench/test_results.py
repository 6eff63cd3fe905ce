from pathlib import Path

import msgspec
import pytest

from rayorch.bench.errors import ResultsError
from rayorch.bench.results import SCHEMA, FailureLine, Results, StageRate, read_results
from tests.rayorch.bench import make


def test_a_file_holds_every_line_that_was_added_and_gives_it_back(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    kept = Results(file)
    stage = StageRate("lines", 2, 10, 100, 1.5, {"read": 0.5})
    for line in make.results(
        make.runs("scan", "rayorch", [1.0, 2.0], stages=(stage,), peak_bytes=7, startup_s=0.5),
        make.figure("core", "events a second", 10.0, 12.0, more_is_better=True),
        FailureLine("scan", "daft", "daft is not installed", "skipped"),
    ).lines:
        kept.add(line)

    assert read_results(file).lines == kept.lines


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"no json\n", "it holds no results of a benchmark"),
        (b'{"kind":"rayorch-profile","version":1}\n', "it holds no results of a benchmark"),
        (
            b'{"type":"machine","kind":"rayorch-bench","schema":1}\n',
            f"its schema is version 1, and version {SCHEMA} is read here",
        ),
    ],
)
def test_what_is_no_file_of_results_is_refused_with_why(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "out.jsonl"
    file.write_bytes(content)

    with pytest.raises(ResultsError) as caught:
        read_results(file)

    assert str(caught.value).startswith(f"{said}. file={file}")
    assert "`rayorch bench run -o FILE` writes one" in str(caught.value)


def test_a_line_that_was_cut_short_is_named(tmp_path: Path) -> None:
    """A suite that was killed leaves half a line: no half of it is taken for a result."""
    file = tmp_path / "out.jsonl"
    file.write_bytes(msgspec.json.encode(make.machine()) + b'\n{"type":"run","work')

    with pytest.raises(ResultsError, match="line 2 is damaged"):
        read_results(file)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="it cannot be read: no such file or directory"):
        read_results(tmp_path / "none.jsonl")
