"""`run` and `resume` as a user meets them, in this process and without Ray."""

import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.rayorch.cli.conftest import FAILING, PIPELINE, Shell

Steady = Callable[[str], str]


def test_a_run_ends_with_a_report_of_what_was_written_and_how_to_read_it(
    shell: Shell, steady: Steady
) -> None:
    said = shell("run", "nightly.py")

    assert said.code == 0
    assert said.out == ""
    lines = steady(said.err).partition("nightly-ID succeeded in ")[2].splitlines()
    (cost,) = [line for line in lines if line.startswith("  cost")]
    # Beside an estimate of the first run, which is a guess.
    assert cost.startswith("  cost      N core seconds; ")
    assert cost.endswith("dollars unknown: no price is known for in-process")
    assert [line for line in lines if line != cost] == [
        "N s",
        "  rows      30 in, 30 out",
        "  bytes     240 B in, N iB out",
        "  tasks     1 of 1 committed",
        ("  seconds   read N s, compute N s, write N s, wait N s; CPU N s, over all runners"),
        "  memory    N iB at most in one attempt",
        "  wrote     file://FOLDER/out",
        "            30 rows in 1 file, N iB, version V",
        '            rayorch.read("file://FOLDER/out").to_table()',
        "  logs      rayorch logs nightly-ID",
    ]
    assert shell.read_parquet()["twice"].to_pylist() == [2 * a for a in range(30)]


def test_with_json_standard_output_is_one_document_and_what_functions_print_is_not_in_it(
    shell: Shell,
) -> None:
    said = shell("run", "nightly.py", "--json")

    document = said.document
    assert document["state"] == "succeeded"
    assert document["rows"] == {"in": 30, "out": 30}
    assert document["outputs"][0]["url"] == "file://FOLDER/out"
    assert document["resume"] is None
    assert "doubling" not in said.out + said.err
    assert "  rows " not in said.err


def test_a_parameter_reaches_the_file(shell: Shell) -> None:
    shell.write(
        "import rayorch as ro\n"
        'p = ro.Pipeline("p")\n'
        'd = p.read("lines", ro.param("input", "nowhere"))\n'
        'd.write("FOLDER/out", format="parquet")\n'
    )

    said = shell("run", "nightly.py", "--set", f"input={shell.folder}/in")

    assert said.code == 0


def test_a_function_that_raises_fails_the_run_with_its_line_and_how_to_go_on(
    shell: Shell, steady: Steady
) -> None:
    """The run fails with exit code 1; mended, it is resumed and ends well."""
    shell.write(FAILING)

    said = shell("run", "nightly.py")

    assert said.code == 1
    report = steady(said.err)
    for line in (
        "  error     ValueError: no such price",
        "  transform doubled",
        "  where     FOLDER/nightly.py:11",
        "  kind      user (the code raised; such errors are not retried)",
        "  go on     mend it, then:  rayorch resume nightly-ID nightly.py",
    ):
        assert line in report.splitlines()
    assert not (shell.folder / "out" / "_manifests").exists()

    shell.write(FAILING.replace('raise ValueError("no such price")', "pass"))
    mended = shell("resume", "last", "nightly.py", "--json")

    assert mended.code == 0
    assert mended.document["resumed"] == 1
    assert shell.read_parquet()["twice"].to_pylist() == [2 * a for a in range(30)]


def test_a_run_of_corrupt_input_is_refused_with_exit_code_3(shell: Shell) -> None:
    (shell.folder / "in" / "1.parquet").write_bytes(b"PAR1 but not for long")

    said = shell("run", "nightly.py", "--json")

    assert said.code == 3
    assert said.document["error"]["kind"] == "refused"
    assert "FOLDER/in/1.parquet" in said.document["error"]["message"]


def test_schemas_that_conflict_are_refused_with_exit_code_3(shell: Shell) -> None:
    pq.write_table(pa.table({"a": ["text"]}), shell.folder / "in" / "9.parquet")

    assert shell("run", "nightly.py").code == 3
    assert shell("plan", "nightly.py").code == 3


def test_a_run_that_has_succeeded_is_not_resumed(shell: Shell, steady: Steady) -> None:
    shell("run", "nightly.py")

    said = shell("resume", "last")

    assert said.code == 2
    assert steady(said.err).splitlines()[-2:] == [
        "error: run nightly-ID cannot be resumed: it is succeeded",
        "  `rayorch show` says more",
    ]


def test_a_run_is_resumed_with_the_parameters_that_it_was_started_with(shell: Shell) -> None:
    """Else its sources would differ from those that its splits were cut from."""
    shell.write(
        FAILING.replace('"FOLDER/in/*.parquet"', 'ro.param("input", "nowhere")'), "other.py"
    )
    assert shell("run", "other.py", "--set", f"input={shell.folder}/in").code == 1

    shell.write(
        FAILING.replace('"FOLDER/in/*.parquet"', 'ro.param("input", "nowhere")').replace(
            'raise ValueError("no such price")', "pass"
        ),
        "other.py",
    )

    assert shell("resume", "last", "other.py").code == 0


def test_ctrl_c_stops_the_run_and_says_how_to_go_on(
    shell: Shell, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first Ctrl-C arrives while the run is followed; the second never does."""
    monkeypatch.setattr("rayorch.client.follow", _InterruptedOnce())

    said = shell("run", "nightly.py")

    assert said.code == 130
    assert "stopping: running tasks end; Ctrl-C again stops at once" in said.err
    assert "  go on     rayorch resume nightly-ID" in steady(said.err).splitlines()


def test_ctrl_c_before_there_is_a_run_names_nothing_to_resume(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rayorch.cli.running.open_control", interrupted)

    said = shell("run", "nightly.py")

    assert said.code == 130
    assert said.err.splitlines()[-1] == "stopped before the run began: there is nothing to resume"
    assert "rayorch resume" not in said.err


def test_the_report_says_whether_the_deadline_was_kept_and_what_it_cost(
    shell: Shell, steady: Steady
) -> None:
    within = "objective=ro.Deadline(timedelta(hours=1))"
    text = PIPELINE.replace('owner="data-platform"', within)
    shell.write(f"from datetime import timedelta\n{text}")

    said, document = shell("run", "nightly.py"), shell("run", "nightly.py", "--json").document

    assert "  deadline  kept: 60 min 00 s, 60 min 00 s to spare" in said.err.splitlines()
    unknown = "dollars unknown: no price is known for in-process"
    assert any(unknown in line for line in steady(said.err).splitlines() if "cost" in line)
    assert document["deadline"]["kept"] is True
    assert document["cost"]["usd"] is None
    assert document["cost"]["core_hours"] > 0.0


class _InterruptedOnce:
    """Follows a run as the client does, but for a Ctrl-C at the very first look."""

    def __init__(self) -> None:
        from rayorch.client import follow  # noqa: PLC0415 - before it is replaced.

        self._follow = follow
        self._interrupted = False

    def __call__(self, *arguments: object, **options: object) -> object:
        if not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt
        return self._follow(*arguments, **options)  # type: ignore[arg-type]


POOLS = "pools:\n  - {name: NAME, vcpu: 1, memory: 8 GiB, usd_h: 1.0}\n"


def test_a_run_on_priced_pools_keeps_what_it_was_asked_and_what_was_decided(shell: Shell) -> None:
    (shell.folder / "pools.yaml").write_text(POOLS.replace("NAME", "in-process"))

    said = shell(
        "run", "nightly.py", "--pools", f"{shell.folder}/pools.yaml", "--deadline", "30m", "--json"
    )

    assert said.code == 0
    (folder,) = (shell.folder / "home" / "runs").iterdir()
    asked = json.loads((folder / "pools.json").read_text())
    assert [pool["name"] for pool in asked["pools"]["pools"]] == ["in-process"]
    assert asked["objective"]["kind"] == "deadline"


def test_a_run_for_which_the_executor_has_no_pool_is_refused(shell: Shell) -> None:
    (shell.folder / "pools.yaml").write_text(POOLS.replace("NAME", "m7i"))

    said = shell("run", "nightly.py", "--pools", f"{shell.folder}/pools.yaml")

    assert said.code == 3
    assert "the file has m7i; there are in-process" in said.err


def test_a_run_that_no_pool_could_take_goes_on_with_pools_that_were_mended(shell: Shell) -> None:
    file = shell.folder / "pools.yaml"
    file.write_text(POOLS.replace("NAME", "m7i"))
    failed = shell("run", "nightly.py", "--pools", str(file), "--deadline", "30m")
    file.write_text(POOLS.replace("NAME", "in-process"))

    again = shell("resume", "last")
    said = shell("resume", "last", "--pools", str(file))

    assert "--pools FILE" in failed.err
    assert again.code == 3, "a file that changed meanwhile decides nothing by itself"
    assert said.code == 0
    (folder,) = (shell.folder / "home" / "runs").iterdir()
    assert json.loads((folder / "pools.json").read_text())["objective"]["kind"] == "deadline"


def test_a_run_that_is_placed_keeps_its_pools_and_says_so(shell: Shell) -> None:
    shell.write(FAILING)
    (shell.folder / "pools.yaml").write_text(POOLS.replace("NAME", "in-process"))
    shell("run", "nightly.py")

    said = shell("resume", "last", "--pools", f"{shell.folder}/pools.yaml")

    assert said.code == 2
    assert "its tasks are placed, and stay with the pools" in said.err


def test_a_budget_without_prices_is_refused_before_anything_starts(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--budget", "5")

    assert said.code == 2
    assert "needs the price of every pool" in said.err
