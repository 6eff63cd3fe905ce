"""`bench run` and `bench compare`: what is refused, and what the exit code says."""

from pathlib import Path

import msgspec
import pytest

from rayorch.bench.results import Results
from rayorch.cli.options import Exit
from tests.rayorch.bench import make
from tests.rayorch.cli.conftest import Shell


def kept(shell: Shell, name: str, results: Results) -> str:
    data = b"".join(msgspec.json.encode(line) + b"\n" for line in results.lines)
    (shell.folder / name).write_bytes(data)
    return name


def test_a_regression_is_shown_and_is_the_exit_code(shell: Shell) -> None:
    before = kept(shell, "a.jsonl", make.results(make.runs("scan", "rayorch", [1.0, 1.1])))
    after = kept(shell, "b.jsonl", make.results(make.runs("scan", "rayorch", [2.0, 2.2])))

    worse = shell("bench", "compare", before, after)
    same = shell("bench", "compare", before, before)
    document = shell("bench", "compare", before, after, "--json")

    assert worse.code == document.code == Exit.FAILED
    row = next(line for line in worse.out.splitlines() if " wall " in line)
    assert row.split() == [
        *("scan", "wall", "1.05", "s", "2.1", "s", "2.00", "1.82", "-", "2.20", "worse")
    ]
    assert "2 compared: 2 worse beyond the noise and 5 %" in worse.out
    assert same.code == Exit.OK
    assert document.document["ratios"][0]["verdict"] == "worse"


def test_a_failure_of_ours_is_named_with_why(shell: Shell) -> None:
    before = kept(shell, "a.jsonl", make.results(make.runs("scan", "rayorch", [1.0])))
    after = kept(shell, "b.jsonl", make.results(make.failure("scan", "rayorch", "no room")))

    said = shell("bench", "compare", before, after)

    assert said.code == Exit.FAILED
    assert "scan: wall: not measured any more: no room" in said.out


def test_a_file_of_something_else_is_refused(shell: Shell) -> None:
    (shell.folder / "x.jsonl").write_text("{}\n")

    said = shell("bench", "compare", "x.jsonl", "x.jsonl")

    assert said.code == Exit.USAGE
    assert "it holds no results of a benchmark. file=x.jsonl" in said.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["--only", "scan,skan"], "known are startup, core, "),
        (["--peers", "spark"], "known are ray-data, ray-data-tuned, daft-ray, daft, dask, pool, "),
        (["-o", "nowhere/out.jsonl"], "it cannot be written: no such file or directory."),
        (["--scale", "0"], "0.0 is not in the range"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is(
    shell: Shell, typed: list[str], said: str
) -> None:
    found = shell("bench", "run", *typed)

    assert found.code == Exit.USAGE
    assert said in found.err


def test_without_the_suite_its_place_is_said(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sees who has installed the wheel."""
    monkeypatch.setattr("rayorch.cli.benching.SUITE", "benchmarks.none")

    said = shell("bench", "run")

    assert said.code == Exit.USAGE
    assert "it is in the source distribution and the repository" in said.err
    assert "make bench ARGS=--quick" in said.err


def test_a_disk_without_room_is_refused_before_anything_is_made(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    said = shell("bench", "run", "--only", "scan", "--scale", "1000", "-o", "out.jsonl")

    assert said.code == Exit.USAGE
    assert "there is no room for the data of the benchmarks: " in said.err
    assert "4.00 TiB" not in said.out
    assert "ask for less with --scale" in said.err
    assert not (shell.folder / "out.jsonl").read_bytes()


def test_a_report_is_the_tables_and_a_page(shell: Shell) -> None:
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")
    file = kept(shell, "a.jsonl", make.results(make.runs("scan", "rayorch", [1.0, 1.1])))

    said = shell("bench", "report", file, "--html", "a.html")

    assert said.code == Exit.OK
    assert "1.05 (1.00 - 1.10)" in said.out
    assert "1.05 (1.00 - 1.10)" in (shell.folder / "a.html").read_text()


def test_a_page_that_cannot_be_written_is_refused_before_the_work(shell: Shell) -> None:
    pytest.importorskip("jinja2", reason="the extra `report` is not installed")

    said = shell("bench", "run", "--html", "nowhere/a.html")

    assert said.code == Exit.USAGE
    assert (
        "the page cannot be written: no such file or directory. --html nowhere/a.html" in said.err
    )


def test_data_is_made_and_told_of(shell: Shell) -> None:
    said = shell("bench", "data", "hot", "--to", "d", "--rows", "100", "--files", "3", "--json")
    again = shell("bench", "data", "hot", "--to", "d", "--rows", "100")

    assert said.code == Exit.OK
    assert (said.document["rows"], said.document["files"]) == (100, 3)
    assert said.err.count("part-0000") == 3
    assert again.code == Exit.USAGE
    assert "nothing is overwritten" in again.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["gauss", "--to", "d"], "'gauss' is not one of"),
        (["zipf"], "Missing option '--to'"),
        (
            ["tpch", "--to", "d", "--rows", "5"],
            "TPC-H is as large as --scale-factor says",
        ),
    ],
)
def test_data_that_cannot_be_made_is_refused(shell: Shell, typed: list[str], said: str) -> None:
    found = shell("bench", "data", *typed)

    assert found.code == Exit.USAGE
    assert said in found.err
