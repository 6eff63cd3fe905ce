"""What a user sees when a command cannot be obeyed: the whole text, and the exit code."""

import socket
from pathlib import Path

import pytest

from rayorch.cli.errors import AmbiguousRunError
from rayorch.cli.failing import error_text, exit_of
from rayorch.cli.options import Exit
from rayorch.errors import FencedError
from rayorch.submit_errors import UnansweredError
from tests.rayorch.cli.conftest import FAILING, PIPELINE, Shell


def test_a_file_that_is_not_there_has_a_near_miss(shell: Shell) -> None:
    said = shell("run", "nighly.py")

    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "error: there is no such file. field=file, value=nighly.py\n  did you mean 'nightly.py'?\n"
    )


def test_a_syntax_error_is_shown_where_it_is(shell: Shell) -> None:
    shell.write("import rayorch as ro\np = ro.Pipeline('p'\n")

    said = shell("plan", "nightly.py")

    assert said.code == 2
    assert said.err == (
        "error: the pipeline file has a syntax error: '(' was never closed\n"
        "  at FOLDER/nightly.py:2\n"
        "  p = ro.Pipeline('p'\n"
        "                 ^\n"
    )


def test_two_pipelines_in_a_file_are_offered_by_name(shell: Shell) -> None:
    shell.write(PIPELINE + PIPELINE.replace("nightly =", "hourly =").replace('"nightly"', '"h"'))

    said = shell("run", "nightly.py")

    assert said.code == 2
    assert said.err == (
        "error: the file holds several pipelines\n"
        "  at FOLDER/nightly.py\n"
        "  choose one:\n"
        "  FOLDER/nightly.py:hourly\n"
        "  FOLDER/nightly.py:nightly\n"
    )


def test_a_set_without_an_equals_sign_is_refused(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--set", "factor")

    assert said.code == 2
    assert said.err == "error: a parameter is given as NAME=VALUE. --set factor\n"


def test_a_parameter_that_the_file_does_not_know_has_a_near_miss(shell: Shell) -> None:
    shell.write("import rayorch as ro\nro.param('factor', 2)\np = ro.Pipeline('p')\n")

    said = shell("plan", "nightly.py", "--set", "faktor=3")

    assert said.code == 2
    assert "field=--set faktor, value='3'\n  did you mean 'factor'?" in said.err


def test_a_home_of_an_unknown_kind_is_named(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--home", "nope://lake/x")

    assert said.code == 2
    assert (
        said.err == "error: cannot open this location: no store knows nope://. url=nope://lake/x\n"
    )


def test_an_unknown_executor_has_a_near_miss(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--executor", "in-proces")

    assert said.code == 2
    assert said.err == (
        "error: unknown executor; did you mean 'in-process'?. --executor=in-proces\n"
    )


def test_a_home_that_is_a_file_is_refused(shell: Shell) -> None:
    """Root may write anywhere, so a read-only folder cannot be tested as root; a file can."""
    Path("home").write_text("in the way")

    said = shell("run", "nightly.py")

    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("error: ")
    assert "FOLDER/home" in said.err


def test_a_cluster_that_does_not_answer_is_said_at_once(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray alone would try for two minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_ADDRESS", address)

    said = shell("run", "nightly.py", "--executor", "ray")

    assert said.code == 2
    first, why, *what_to_do = said.err.splitlines()[-5:]
    assert first == f"error: no Ray cluster answers. address={address}"
    assert "refused" in why
    assert what_to_do[1] == "  run the file: `rayorch submit FILE --address http://HEAD:8265`;"


def test_without_runs_last_means_nothing(shell: Shell) -> None:
    said = shell("show", "last")

    assert said.code == 2
    assert said.err == (
        "error: there are no runs here yet. home=file://FOLDER/home\n"
        "  `rayorch run FILE` makes one; --home or RAYORCH_HOME names another home\n"
    )


def test_an_unknown_run_has_a_near_miss(shell: Shell) -> None:
    document = shell("run", "nightly.py", "--json").document

    said = shell("explain", "nihtly-" + document["run"].partition("-")[2])

    assert said.code == 2
    assert said.err.endswith(f"Did you mean {document['run']!r}?\n")


def test_the_beginning_of_an_id_is_enough_while_only_one_run_has_it(shell: Shell) -> None:
    first = shell("run", "nightly.py", "--json").document["run"]
    assert shell("show", "nightly-2", "--json").document["run"] == first
    second = shell("run", "nightly.py", "--json").document["run"]

    said = shell("show", "nightly-2")

    assert said.code == 2
    assert said.err == (
        f"error: 2 runs begin so, type more of the id. run='nightly-2'\n  {second}\n  {first}\n"
    )


def test_a_task_that_the_run_does_not_have_is_refused(shell: Shell) -> None:
    shell("run", "nightly.py")

    said = shell("explain", "last", "7")

    assert said.code == 2
    assert said.err.startswith("error: no such task: its tasks are 0 to 0. run=nightly-")


def test_an_unknown_option_and_command_are_usage_errors(shell: Shell) -> None:
    assert shell("rum").code == 2
    assert shell("run").code == 2
    assert shell("run", "nightly.py", "--slots", "0").code == 2
    assert "No such command 'rum'" in shell("rum").err


def test_with_json_an_error_is_a_document_too(shell: Shell) -> None:
    said = shell("plan", "nighly.py", "--json")

    assert said.document["error"]["type"] == "PipelineFileError"
    assert said.document["error"]["remedy"] == "fix"
    assert said.err.startswith("error: there is no such file")


def test_a_traceback_is_shown_to_who_asks_for_it(shell: Shell) -> None:
    with pytest.raises(Exception, match="there is no such file"):
        shell("plan", "nighly.py", RAYORCH_TRACEBACK="1")


def test_a_bug_of_ours_is_one_line_and_a_file_with_the_traceback(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing can make `runs` divide by zero but a bug."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rayorch.cli.looking.is_led", lambda _at: 1 / 0)
    shell("run", "nightly.py")

    said = shell("runs")

    first, second = said.err.splitlines()
    assert said.code == 1
    assert first == "error: a bug of rayorch: ZeroDivisionError: division by zero"
    assert second.startswith("  please report it with the traceback, which is in FOLDER/")
    crash = Path(second.rpartition(" ")[2].replace("FOLDER", str(tmp_path)))
    assert "ZeroDivisionError" in crash.read_text()


def test_what_to_do_is_said_by_the_remedy_where_the_text_does_not() -> None:
    assert error_text(UnansweredError("nightly-1", "pid 7", 10.0)) == (
        "error: the request is left under the home, and not obeyed within 10 s. "
        "run=nightly-1, leader=pid 7\n"
        "  it may have happened all the same: `rayorch runs` shows what stands"
    )


def test_many_runs_of_one_beginning_are_not_all_listed() -> None:
    runs = tuple(f"nightly-{number}" for number in range(9))

    assert str(AmbiguousRunError("n", runs)).splitlines()[1:] == [
        "  nightly-8",
        "  nightly-7",
        "  nightly-6",
        "  nightly-5",
        "  nightly-4",
        "  and 4 more",
    ]


def test_a_failed_run_of_a_pipeline_is_no_usage_error(shell: Shell) -> None:
    shell.write(FAILING)

    assert shell("run", "nightly.py").code == 1


def test_a_process_that_was_fenced_off_has_failed_and_typed_nothing_wrong() -> None:
    assert exit_of(FencedError(1, 2)) == Exit.FAILED
