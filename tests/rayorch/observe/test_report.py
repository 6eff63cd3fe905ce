"""What is said of a run, and of numbers."""

import json

import msgspec
import pytest

from rayorch.core.values import ErrorInfo
from rayorch.observe.figures import bytes_text, counted, seconds_text
from rayorch.observe.report import Commands, report_data, report_of
from tests.rayorch.observe.views import published, totals, view


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (10 * 1024, "10.0 KiB"),
        (150 << 20, "150 MiB"),
        (3 << 40, "3.00 TiB"),
        (5000 << 50, "5000 PiB"),
    ],
)
def test_a_size_has_three_digits_and_its_unit(size_bytes: int, text: str) -> None:
    assert bytes_text(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0.0, "0.00 s"),
        (0.354, "0.35 s"),
        (12.44, "12.4 s"),
        (99.96, "100 s"),
        (185.0, "3 min 05 s"),
        (7199.7, "2 h 00 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_a_duration_is_as_coarse_as_it_is_long(duration_s: float, text: str) -> None:
    assert seconds_text(duration_s) == text


def test_one_task_is_no_tasks() -> None:
    assert [counted(1, "task"), counted(1200, "task")] == ["1 task", "1,200 tasks"]


def test_the_report_of_a_run_that_went_well() -> None:
    seen = view(
        state="succeeded",
        tasks=16,
        committed=16,
        finished_s=1012.4,
        totals=totals(failures={"lost": 1, "transient": 2}, cuts=2, second_tries=1),
        published=(published(rows=4, files=1, size_bytes=2048),),
    )

    assert report_of(seen).text().splitlines() == [
        "nightly-1 succeeded in 12.4 s",
        "  rows      6,001,215 in, 5,916,591 out",
        "  bytes     205 MiB in, 30.0 MiB out",
        (
            "  tasks     16 of 16 committed, 3 failed attempts (1 lost, 2 transient), "
            "2 cut short, the rest made tasks, 1 tried a second time"
        ),
        (
            "  seconds   read 3.10 s, compute 10.2 s, write 5.00 s, wait 0.40 s; "
            "CPU 14.0 s, over all runners"
        ),
        "  memory    310 MiB at most in one attempt",
        "  wrote     s3://lake/out",
        "            4 rows in 1 file, 2.00 KiB, version 3",
        '            rayorch.read("s3://lake/out").to_table()',
        "  logs      rayorch logs nightly-1",
    ]


def test_the_report_of_a_run_that_failed_says_why_where_and_what_to_do() -> None:
    error = ErrorInfo(
        message="division by zero",
        error_type="ZeroDivisionError",
        transform="shipped",
        where="nightly.py:14",
        source="s3://lake/in/3.parquet, row group 7",
        kind="user",
    )
    seen = view(state="failed", tasks=16, committed=7, failed=1, finished_s=1003.2, error=error)

    lines = report_of(seen, Commands(file="nightly.py", home=" --home s3://h")).text().splitlines()

    assert lines[:6] == [
        "nightly-1 failed after 3.20 s: 7 of 16 tasks committed; they stay",
        "  error     ZeroDivisionError: division by zero",
        "  transform shipped",
        "  where     nightly.py:14",
        "  input     s3://lake/in/3.parquet, row group 7",
        "  kind      user (the code raised; such errors are not retried)",
    ]
    assert lines[-2:] == [
        "  go on     mend it, then:  rayorch resume nightly-1 nightly.py --home s3://h",
        "  logs      rayorch logs nightly-1 --home s3://h",
    ]


def test_a_run_that_was_not_planned_says_so_and_no_more() -> None:
    seen = view(
        state="failed",
        finished_s=1000.5,
        error=ErrorInfo(message="no file matches", kind="refused"),
    )

    assert report_of(seen).text().splitlines() == [
        "nightly-1 failed after 0.50 s: nothing was committed",
        "  error     no file matches",
        "  kind      refused (to try again cannot help)",
        "  go on     mend it, then:  rayorch resume nightly-1",
    ]


@pytest.mark.parametrize("state", ["stopped", "interrupted"])
def test_a_run_that_stopped_says_how_to_go_on(state: str) -> None:
    report = report_of(view(state=state, tasks=4, committed=1, finished_s=1001.0))

    assert report.mood == "paused"
    assert ("go on", "rayorch resume nightly-1") in report.lines


def test_a_cancelled_run_does_not_offer_to_go_on() -> None:
    report = report_of(view(state="cancelled", tasks=4, committed=1, finished_s=1001.0))

    assert report.title == "nightly-1 cancelled after 1.00 s: what it staged is removed"
    assert "go on" not in dict(report.lines)


def test_the_document_is_json_and_has_the_same_numbers() -> None:
    seen = view(state="succeeded", tasks=2, committed=2, published=(published(),))

    document = json.loads(msgspec.json.encode(report_data(seen)))

    assert document["rows"] == {"in": 6_001_215, "out": 5_916_591}
    assert document["outputs"][0]["url"] == "s3://lake/out"
    assert document["error"] is None
    assert document["resume"] is None


def test_the_document_of_a_failed_run_has_its_error_and_how_to_go_on() -> None:
    seen = view(state="failed", error=ErrorInfo(message="no", kind="user"))

    document = report_data(seen)

    assert document["error"]["kind"] == "user"
    assert document["error"]["where"] is None
    assert document["resume"] == "rayorch resume nightly-1"
