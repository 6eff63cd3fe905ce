"""What the README shows works as it is written there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.formats.registry import FORMATS
from rayorch.api import Dataset
from rayorch.bench.results import Results
from rayorch.cli.commands import COMMANDS, RAYORCH
from rayorch.cli.main import command_exit
from rayorch.cli.options import Exit
from rayorch.client import LocalControl, connection
from rayorch.compiling import compile_program
from rayorch.host.leader import read_leader
from rayorch.plan.labels import (
    MARKET_LABEL,
    NUMBERS,
    POOL_LABEL,
    REGION_LABEL,
    TYPE_LABEL,
    ZONE_LABEL,
)
from tests.rayorch.bench.make import results, runs
from tests.rayorch.cli.conftest import PatientClock

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LINES = pa.table(
    {
        "l_orderkey": [1, 2, 3, 4],
        "l_quantity": [1, 0, 2, 3],
        "l_extendedprice": [10.0, 20.0, 30.0, 40.0],
        "l_returnflag": ["R", "R", "N", "R"],
    }
)


def blocks(language: str) -> list[str]:
    """The code blocks of a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """The commands that the README shows, without their comments."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a little data and the README's pipeline in `nightly.py`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAYORCH_EXECUTOR", "in-process")
    monkeypatch.setenv("RAYORCH_HOME", str(tmp_path / "home"))
    (tmp_path / "lake" / "lineitem").mkdir(parents=True)
    for number in range(2):
        rows = LINES.slice(2 * number, 2)
        pq.write_table(rows, tmp_path / "lake" / "lineitem" / f"{number}.parquet")
    (tmp_path / "nightly.py").write_text(blocks("python")[0])
    (tmp_path / "pools.yaml").write_text(blocks("yaml")[0])
    for name in ("before.jsonl", "today.jsonl"):
        kept = Results(tmp_path / name)
        for line in results(runs("scan", "rayorch", [1.0, 1.1])).lines:
            kept.add(line)
    for file in ("cluster.yaml", "deploy/prices.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text())
    return tmp_path


def returns(lake: Path) -> list[dict[str, Any]]:
    return sorted(ro.read(str(lake / "lake" / "returns")).to_table().to_pylist(), key=str)


RETURNS = [{"l_orderkey": 1, "vat": 2.0}, {"l_orderkey": 4, "vat": 8.0}]


def test_the_pipeline_runs_as_a_program_and_takes_ten_lines(lake: Path) -> None:
    lines = blocks("python")[0].partition("if __name__")[0].splitlines()
    code = [line for line in lines if line and not line.startswith("import ")]

    subprocess.run([sys.executable, "nightly.py"], cwd=lake, check=True)

    assert returns(lake) == RETURNS
    assert len(code) <= 10


def test_the_test_of_the_pipeline_passes() -> None:
    pipeline, test, *_ = blocks("python")

    exec(compile(pipeline + test, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102


def test_the_operators_do_what_they_are_shown_for(lake: Path) -> None:
    (lake / "lake" / "flags").mkdir()
    flags = pa.table({"flag": ["R", "A"], "meaning": ["returned", "accepted"]})
    pq.write_table(flags, lake / "lake" / "flags" / "0.parquet")
    found: dict[str, Any] = {"ro": ro}

    exec(compile(blocks("python")[2], "README.md", "exec"), found)  # noqa: S102
    ro.run(found["sales"])

    ranked = ro.read(str(lake / "lake" / "ranked")).to_table().to_pylist()
    assert ranked == [
        {"meaning": "returned", "quantity": 4, "price": 70.0 / 3, "lines": 3},
        {"meaning": None, "quantity": 2, "price": 30.0, "lines": 1},
    ]


def test_transforms_say_what_they_need_as_is_shown(lake: Path) -> None:
    found: dict[str, Any] = {"__name__": "readme"}

    exec(compile(blocks("python")[0] + blocks("python")[3], "README.md", "exec"), found)  # noqa: S102
    needs = [stage.resources for stage in compile_program(found["nightly"]).stages]
    ro.run(found["nightly"])

    assert [(each.memory_bytes, each.cores, each.gpus) for each in needs] == [
        (4 << 30, 2.0, 0.0),
        (1 << 30, 1.0, 0.5),
    ]
    assert ro.read(str(lake / "lake" / "scored")).to_table().num_rows == len(RETURNS)


def test_a_run_from_outside_goes_as_it_is_shown(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rayorch.client.SystemClock", PatientClock)
    at = connection()
    control = LocalControl(at.home, at.clock, 1)
    control._host.serve()
    while read_leader(at.home) is None:
        at.clock.sleep(0.01)
    found: dict[str, Any] = {"__name__": "readme"}
    pipeline, *_, outside = blocks("python")

    exec(compile(pipeline + outside, "README.md", "exec"), found)  # noqa: S102
    control.close()

    assert found["report"].state == found["state"] == "succeeded"
    assert found["printed"]
    assert returns(lake) == RETURNS


def test_the_operators_of_the_table_are_those_that_there_are() -> None:
    named = re.findall(r"^\| `(\w+)` \| ", README.partition("## Group")[2], re.MULTILINE)

    others = {"map", "filter", "select", "sql", "union", "write", "discard"}
    offered = {name for name in dir(Dataset) if not name.startswith("_")} - {"draft", "name"}
    assert set(named) == offered - others


@pytest.mark.timeout(400)
def test_the_commands_do_what_they_are_shown_for(
    lake: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each in turn, on one home. What is over cannot be resumed, and that is said.

    Those that need a cluster are in tests/cluster/test_submit.py.
    """
    monkeypatch.setattr("rayorch.client.SystemClock", PatientClock)
    ours = [command[1:] for command in commands() if command[0] == "rayorch"]
    shown = [arguments for arguments in ours if arguments[0] != "submit"]
    codes: dict[str, int] = {}
    for arguments in shown:
        codes[arguments[0]] = command_exit(arguments, {})
        assert "Traceback" not in capfd.readouterr().err

    assert returns(lake) == RETURNS
    over = {name: codes.pop(name) for name in ("resume", "cancel")}
    assert over["resume"] == Exit.USAGE
    assert set(codes.values()) == {Exit.OK}, codes


def test_every_command_is_shown_or_named() -> None:
    shown = {command[1] for command in commands() if command[0] == "rayorch"}

    assert {str(command.name) for command in COMMANDS} - shown - {"up", "down"} == set()
    assert shown <= set(RAYORCH.commands)
    assert "`rayorch up`" in README


def test_the_make_targets_exist() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    named = {command[1] for command in commands() if command[0] == "make"}
    named |= set(re.findall(r"`make (\w+)`", README))
    assert named == {"bench", "demo", "help", "test"}
    assert named <= set(targets)


def test_the_labels_are_those_that_are_read() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", README.partition("| label | says |")[2], re.MULTILINE)
    table = [name for row in rows for name in re.findall(r"`([\w./-]+)`", row)]

    known = [POOL_LABEL, MARKET_LABEL, REGION_LABEL, ZONE_LABEL, TYPE_LABEL, *NUMBERS]
    assert set(known) <= set(table)
    assert README.count("| label | says |") == 1


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    table = re.findall(r"^\| (\d+) \|", README, re.MULTILINE)

    assert [int(code) for code in table] == sorted(Exit)


def test_formats_and_extras_are_those_that_there_are() -> None:
    words = {"parquet": "Parquet", "csv": "CSV", "jsonl": "JSON Lines", "arrow": "Arrow IPC"}
    listed = ", ".join({**words, "delta": "Delta"}[name] for name in FORMATS)
    assert f"| formats | {listed} |" in README
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    for extra in ("s3", "gcs", "azure", "pandas", "polars", "sql", "plot", "report", "demo"):
        assert extra in extras
        assert f"`{extra}`" in README


def test_the_map_names_every_folder_and_file_that_is_there() -> None:
    names = re.findall(r"^\| `([\w/]+)/` \|", README, re.MULTILINE)

    assert [name for name in names if not (ROOT / name).is_dir()] == []
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(names)
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).is_file()


@pytest.mark.parametrize("package", ["rayorch", "connectors"])
def test_the_map_of_a_package_names_what_is_there(package: str) -> None:
    text = (ROOT / package / "README.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", text.partition("\n## ")[0], re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([\w/.]+)`", row)]

    assert names
    assert [name for name in names if not (ROOT / package / name).exists()] == []


def test_the_connectors_are_used_as_their_readme_shows(lake: Path) -> None:
    text = (ROOT / "connectors" / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    code = code.replace("s3://lake/", f"{lake}/lake/").replace("...", "found.append(table)")
    found: list[pa.Table] = []

    exec(compile(code, "README.md", "exec"), {"found": found})  # noqa: S102

    # Both files are small: they are one split.
    assert pa.concat_tables(found)["l_orderkey"].to_pylist() == [1, 2, 3, 4]
