"""The declarations: each command has its work, its options, and help that begins with examples."""

import dataclasses
import subprocess
import sys
from importlib.metadata import version

import click
import pytest

from rayorch.cli.commands import COMMANDS, RAYORCH
from rayorch.cli.lazy import LazyCommand
from rayorch.cli.options import Options
from tests.rayorch.cli.conftest import Shell

by_name = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


@by_name
def test_the_work_of_a_command_exists_and_takes_what_it_declares(command: LazyCommand) -> None:
    """Nothing else would notice: the module is imported when the command is called."""
    fields = {field.name for field in dataclasses.fields(Options)}

    assert callable(command.load())
    assert {str(param.name) for param in command.params} <= fields


@by_name
def test_help_begins_with_what_it_does_and_examples(command: LazyCommand, shell: Shell) -> None:
    said = shell(str(command.name), "--help")

    assert said.code == 0
    about, examples, usage = (
        said.out.index((command.help or "")[:20]),
        said.out.index(f"Examples:\n  rayorch {command.name}"),
        said.out.index(f"Usage: rayorch {command.name}"),
    )
    assert about < examples < usage


@by_name
def test_examples_name_options_that_exist(command: LazyCommand) -> None:
    options = {flag for param in command.params for flag in param.opts}

    for typed, _ in command.examples:
        flags = {word.partition("=")[0] for word in typed.split() if word.startswith("--")}
        assert flags <= options
        assert typed.split()[:2] == ["rayorch", command.name]


@by_name
def test_all_that_print_can_print_json(command: LazyCommand) -> None:
    assert any("--json" in param.opts for param in command.params)


def test_it_tells_its_version(shell: Shell) -> None:
    said = shell("--version")

    assert said.code == 0
    assert said.out == f"rayorch {version('rayorch')}\n"


def test_the_help_of_all_lists_examples_before_commands(shell: Shell) -> None:
    said = shell("--help")

    assert said.code == 0
    assert said.out.index("Examples:") < said.out.index("Commands:")
    for command in COMMANDS:
        assert f"\n  {command.name} " in said.out
    assert isinstance(RAYORCH, click.Group)


def test_help_imports_nothing_heavy() -> None:
    """What it takes to import these is why help has 0.4 s; a count of seconds would be flaky."""
    heavy = ("ray", "pyarrow", "numpy", "pydantic", "rich", "duckdb", "pandas", "deltalake")
    script = (
        "import sys\n"
        "from rayorch.cli.main import command_exit\n"
        "assert command_exit(['run', '--help'], {}) == 0\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stderr.strip() == "[]"


def test_python_dash_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rayorch", "--help"], capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("Partitioned Arrow transforms on Ray")
