"""`submit`, and `up` and `down` on a cluster, as a user meets them, with a fake dashboard."""

import json
import shlex
from collections.abc import Iterator
from typing import Any, Final

import pytest

from rayorch import bootstrap, remote
from rayorch.cli import cluster, submitting
from rayorch.client import LocalControl, connection
from rayorch.host import working_dir
from rayorch.host.leader import read_leader
from tests.rayorch.cli.conftest import FAILING, PIPELINE, Shell
from tests.rayorch.fake_dashboard import Dashboard, fake_dashboard

QUIET: Final = (
    PIPELINE.replace('    print("doubling", len(batch))\n', "")
    .replace('ro.param("factor", 2)', "FACTOR")
    .replace("\nnightly", '\nFACTOR = ro.param("factor", 2)\nnightly', 1)
)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dashboard]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr("rayorch.host.requests.LOOK_S_IDLE", 0.0)
    monkeypatch.setattr(remote, "LOOK_S", 0.02)
    monkeypatch.setattr(bootstrap, "POLL_S", 0.02)
    with fake_dashboard() as made:
        yield made


@pytest.fixture
def served(shell: Shell, board: Dashboard) -> Iterator[LocalControl]:
    """The control actor of the shell's home, which the jobs of the dashboard find."""
    at = connection()
    control = LocalControl(at.home, at.clock, 1)
    control._host.serve()
    # It runs here: what functions print would be on this command's standard output.
    shell.write(QUIET)
    while read_leader(at.home) is None:
        at.clock.sleep(0.01)

    def runs(asked: dict[str, Any]) -> tuple[int, str]:
        """Do what the job's command says, as far as it is not Ray's business."""
        python, dash_m, rayorch, verb, file, *rest = shlex.split(asked["entrypoint"])
        assert (python, dash_m, rayorch, verb) == ("python", "-m", "rayorch", "run")
        assert rest[:3] == ["--no-wait", "--executor", "ray"]
        said = shell("submit", str(shell.folder / file), "--no-wait", *rest[3:])
        noise = "2026-11-22 03:15:00,000\tINFO job_manager.py:568 -- Runtime env is setting up.\n"
        return said.code, f"{noise}Running entrypoint for job x: y\n{said.err}{said.out}"

    board.runs = runs
    yield control
    control.close()


# --- by way of the home --------------------------------------------------------------------------


def test_without_an_address_the_run_goes_to_who_serves_the_home(
    shell: Shell, served: LocalControl
) -> None:
    said = shell("submit", "nightly.py", "--id", "nightly-1")

    assert said.code == 0, said.err
    assert "nightly-1 is with in-process on " in said.err
    assert "nightly-1 succeeded in" in said.err
    assert shell.read_parquet()["twice"].to_pylist() == [2 * a for a in range(30)]


def test_a_run_that_fails_there_ends_the_command_as_it_ends_run(
    shell: Shell, served: LocalControl
) -> None:
    shell.write(FAILING)

    said = shell("submit", "nightly.py", "--logs")

    assert said.code == 1
    assert "no such price" in said.err


def test_no_wait_prints_the_id_and_nothing_else_on_standard_output(
    shell: Shell, served: LocalControl
) -> None:
    said = shell("submit", "nightly.py", "--id", "n-1", "--no-wait")
    document = shell("submit", "nightly.py", "--id", "n-2", "--no-wait", "--json").document

    assert (said.code, said.out) == (0, "n-1\n")
    assert document["run"] == "n-2"


def test_where_nobody_serves_it_is_said_how_somebody_will(shell: Shell) -> None:
    said = shell("submit", "nightly.py")

    assert said.code == 2
    assert "error: no control actor serves this home" in said.err
    assert "`rayorch up --address http://HEAD:8265 --home HOME`" in said.err


@pytest.mark.parametrize(
    "option",
    [
        ("--pip", "lightgbm"),
        ("--requirements", "r.txt"),
        ("--working-dir", "."),
        ("--entry-label", "a=b"),
        ("--start-within", "1m"),
    ],
)
def test_what_only_a_job_can_do_needs_an_address(shell: Shell, option: tuple[str, str]) -> None:
    said = shell("submit", "nightly.py", *option)

    assert said.code == 2
    assert f"which --address names. {option[0]} {option[1]}" in said.err


# --- by way of a job -----------------------------------------------------------------------------


def test_with_an_address_a_job_loads_the_file_and_the_run_is_followed_here(
    shell: Shell, served: LocalControl, board: Dashboard
) -> None:
    said = shell(
        *("submit", "nightly.py", "--address", board.url, "--id", "n-1", "--set", "factor=3"),
        *("--entry-label", "pool=ondemand", "--entry-memory", "2 GiB", "--pip", "lightgbm"),
        *("--tenant", "finance", "--priority", "7", "--json"),
    )

    assert said.code == 0, said.err
    assert said.document["state"] == "succeeded"
    assert shell.read_parquet()["twice"].to_pylist() == [3 * a for a in range(30)]
    asked = board.jobs["n-1"]["asked"]
    assert asked["entrypoint_label_selector"] == {"pool": "ondemand"}
    assert asked["entrypoint_memory"] == 2 << 30
    assert asked["runtime_env"]["pip"]["packages"] == ["lightgbm"]
    assert shlex.split(asked["entrypoint"])[4:] == [
        *("nightly.py", "--no-wait", "--executor", "ray", "--set", "factor=3"),
        *("--tenant", "finance", "--priority", "7", "--id", "n-1"),
        *("--home", connection().home.url),
    ]
    # What Ray says of itself is no news to anybody.
    assert "Runtime env is setting up" not in said.err
    assert "Running entrypoint" not in said.err


def test_the_same_id_twice_is_one_run(shell: Shell, served: LocalControl, board: Dashboard) -> None:
    """A scheduler that retries its command must not pay twice."""
    command = ("submit", "nightly.py", "--address", board.url, "--id", "n-1", "--no-wait")
    assert shell(*command).code == 0

    again = shell(*command)

    assert again.code == 2
    assert "error: this id is taken already. id=n-1" in again.err
    assert len(board.jobs) == 1


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (
            PIPELINE.replace("import pyarrow as pa", "import lightgbmm", 1),
            2,
            "no module lightgbmm: `--pip",
        ),
        (PIPELINE.replace("FOLDER/in", "FOLDER/nowhere"), 3, "nowhere"),
    ],
)
def test_what_the_job_says_is_shown_and_its_exit_code_is_ours(
    shell: Shell, served: LocalControl, board: Dashboard, text: str, code: int, said: str
) -> None:
    """Imports that are missing there among it, with the option that brings them."""
    shell.write(text)

    ended = shell("submit", "nightly.py", "--address", board.url)

    assert ended.code == code
    assert said in ended.err


def test_a_cluster_without_rayorch_is_told_of(shell: Shell, board: Dashboard) -> None:
    board.runs = lambda _: (1, "/usr/bin/python: No module named rayorch\n")

    said = shell("submit", "nightly.py", "--address", board.url)

    assert said.code == 1
    assert "the cluster has no rayorch: `--pip rayorch`" in said.err


def test_a_job_that_ends_before_the_command_could_is_an_error_with_its_reason(
    shell: Shell, board: Dashboard
) -> None:
    board.runs = lambda _: (-9, "")

    said = shell("submit", "nightly.py", "--address", board.url, "--id", "n-1")

    assert said.code == 2
    assert "the job ended before the run was handed over. job=n-1, exit=-9" in said.err
    assert "`ray job logs n-1`" in said.err


def test_a_job_that_pends_for_ever_is_taken_back(shell: Shell, board: Dashboard) -> None:
    board.starts = False

    said = shell(
        *("submit", "nightly.py", "--address", board.url, "--id", "n-1"),
        *("--start-within", "0.1s", "--entry-label", "pool=gpu"),
    )

    assert said.code == 2
    assert "the job did not begin within 0.1 s, and was taken back. job=n-1" in said.err
    assert "it asks for --entry-label pool=gpu: `ray status` shows what nodes have" in said.err
    assert board.stopped == ["n-1"]


def test_a_home_that_the_cluster_does_not_share_is_found_out(
    shell: Shell, board: Dashboard
) -> None:
    board.runs = lambda _: (0, "n-1\n")

    tunnelled = shell("submit", "nightly.py", "--address", board.url, "--id", "n-1")
    far = shell("submit", "nightly.py", "--address", "http://head.example:8265")

    assert tunnelled.code == far.code == 2
    assert "the cluster has taken the run, but not under this home. run=n-1" in tunnelled.err
    assert "the home is on this machine, and the cluster would look for it on its own" in far.err
    assert "--home s3://BUCKET/_rayorch" in far.err


def test_a_dashboard_that_is_away_for_a_moment_is_waited_for(
    shell: Shell, served: LocalControl, board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rayorch.errors import ClusterError  # noqa: PLC0415
    from rayorch.host.ray_jobs import RayJobs  # noqa: PLC0415 - Ray comes with it.

    real, away = RayJobs.log, iter([True, True])

    def log(jobs: RayJobs, job: str) -> str:
        if next(away, False):
            raise ClusterError(jobs.address, "Connection refused")
        return real(jobs, job)

    monkeypatch.setattr(RayJobs, "log", log)
    assert shell("submit", "nightly.py", "--address", board.url).code == 0

    monkeypatch.setattr(bootstrap, "LOST_S_MAX", 0.05)
    away = iter(lambda: True, False)
    said = shell("submit", "nightly.py", "--address", board.url, "--id", "n-2")
    assert said.code == 1
    assert "did not answer within 0.05 s when asked about job n-2" in said.err
    assert "`rayorch runs` shows what stands" in said.err


def test_a_token_that_expires_while_the_job_goes_is_said_at_once(
    shell: Shell, board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled"
    monkeypatch.setattr(where, lambda _: {"Authorization": "Bearer of-today"})
    board.token = "of-today"  # noqa: S105 - nobody's.

    def expires(_: dict[str, Any]) -> tuple[int, str]:
        board.token = "of-tomorrow"  # noqa: S105
        return 0, ""

    board.runs = expires
    said = shell("submit", "nightly.py", "--address", board.url)

    assert said.code == 2
    assert "it refuses our token: " in said.err
    assert "copy the cluster's token" in said.err


def test_machines_are_asked_for_by_the_job(shell: Shell, board: Dashboard) -> None:
    (shell.folder / "pools.yaml").write_text("pools: []")
    submit = ("submit", "nightly.py", "--address", board.url, "--autoscale", "--id", "n-1")

    alone = shell(*submit)
    shell(*submit, "--pools", "pools.yaml")

    assert alone.code == 2
    assert (
        "error: machines can be asked for of pools that are described: --pools cluster.yaml"
        in alone.err
    )
    words = shlex.split(board.jobs["n-1"]["asked"]["entrypoint"])
    assert words[words.index("--pools") + 1] == "pools.yaml"
    assert "--autoscale" in words


def test_files_that_do_not_travel_are_refused_before_anything_is_asked(
    shell: Shell, board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell.folder / "jobs").mkdir()

    outside = shell("submit", "nightly.py", "--address", board.url, "--working-dir", "jobs")
    monkeypatch.setattr(working_dir, "FILES_MAX", 2)
    large = shell("submit", "nightly.py", "--address", board.url)

    assert outside.code == large.code == 2
    assert "the FILE is outside the working directory" in outside.err
    assert "--working-dir FOLDER" in outside.err
    assert "the working directory is too large" in large.err
    assert board.jobs == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--id", "No/Good"), "a run's id is 1 to 100 lower-case letters"),
        (("--entry-label", "pool"), "a label is given as NAME=VALUE. --entry-label pool"),
        (("--entry-memory", "much"), "--entry-memory much"),
        (("--requirements", "nowhere.txt"), "No such file or directory"),
        (("--address", "10.0.0.7:6379"), "the address of its dashboard, http:// or https://"),
        (("--address", "http://127.0.0.1:1"), "Connection refused"),
    ],
)
def test_what_was_typed_wrongly_is_said(
    shell: Shell, board: Dashboard, options: tuple[str, str], said: str
) -> None:
    ended = shell("submit", "nightly.py", "--address", board.url, *options)

    assert ended.code == 2
    assert said in ended.err
    assert board.jobs == {}


# --- Ctrl-C --------------------------------------------------------------------------------------


WAITING: Final = """
    import pathlib, threading
    while not pathlib.Path("FOLDER/gate").exists():
        threading.Event().wait(0.01)
"""


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_lets_go_of_the_run_and_a_second_one_stops_it(
    shell: Shell, served: LocalControl, monkeypatch: pytest.MonkeyPatch, presses: int
) -> None:
    """As with other things that a cluster runs: the terminal only looks on."""
    gate = shell.folder / "gate"
    if presses == 1:
        shell.write(PIPELINE.replace('print("doubling", len(batch))', WAITING))
    left = iter([True])

    def press(*_: object) -> None:
        if next(left, None) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(submitting, "AGAIN_S", 0.01)
    monkeypatch.setattr("rayorch.observe.display.PlainDisplay.update", press)
    monkeypatch.setattr("rayorch.observe.display.LiveDisplay.update", press)
    monkeypatch.setattr(submitting._Follower, "_wants_stop", lambda _: presses == 2)

    said = shell("submit", "nightly.py", "--id", "n-1")

    gate.touch()
    if presses == 1:
        assert said.code == 130
        assert "n-1 goes on:" in said.err
        assert "rayorch cancel n-1" in said.err
    else:
        # It may have ended before the request came.
        assert said.code in {0, 130}
        assert "n-1 goes on:" not in said.err


# --- up and down ---------------------------------------------------------------------------------


def test_up_and_down_reach_a_cluster_by_a_job(
    shell: Shell, served: LocalControl, board: Dashboard
) -> None:
    board.runs = lambda _: (0, "")

    up = shell("up", "--address", board.url, "--json")
    down = shell("down", "--address", board.url)

    assert up.code == down.code == 0
    assert up.document["name"] == "in-process"
    first, second = (job["entrypoint"] for job in board.jobs.values())
    home = connection().home.url
    assert first == f"python -m rayorch up --address auto --home {home}"
    assert second == f"python -m rayorch down --address auto --home {home}"


def test_up_says_why_it_failed_there(shell: Shell, board: Dashboard) -> None:
    board.runs = lambda _: (2, "error: no room\n")

    said = shell("up", "--address", board.url)

    assert said.code == 2
    assert "`rayorch up` failed on the cluster" in said.err
    assert "  error: no room" in said.err


@pytest.mark.parametrize("command", ["up", "down"])
def test_a_home_alone_is_no_cluster(shell: Shell, command: str) -> None:
    said = shell(command, "--home", "there")

    assert said.code == 2
    assert "on " in said.err
    assert "which --address names. --home there" in said.err


def test_a_run_in_this_process_cannot_be_left_alone(shell: Shell) -> None:
    said = shell("run", "nightly.py", "--no-wait")

    assert said.code == 2
    assert "a run in this process ends with it: it cannot be left alone" in said.err
    assert cluster.LOOK_S > 0
    assert json.loads(shell("runs", "--json").out) == {"runs": []}
