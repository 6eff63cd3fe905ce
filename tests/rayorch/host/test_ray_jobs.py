"""Ray Jobs over HTTP: each way in which a dashboard can fail, in our words and with what to do."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.bootstrap import checked_address
from rayorch.errors import ClusterError
from rayorch.host import ray_jobs
from rayorch.host.ray_jobs import JobAsk, JobState, RayJobs
from rayorch.submit_errors import NoAnswerError, SubmitError
from tests.rayorch.fake_dashboard import TOKEN, Dashboard, fake_dashboard

ASK = JobAsk(id="nightly-1", command="python -m rayorch run nightly.py")


@pytest.fixture
def board() -> Iterator[Dashboard]:
    with fake_dashboard() as made:
        yield made


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray itself reads the mode once a process: tests say by header what they send."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


def sends(token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    where = "ray.dashboard.modules.dashboard_sdk.get_auth_headers_if_auth_enabled"
    monkeypatch.setattr(where, lambda _: headers)


def test_a_job_goes_there_with_all_that_was_asked(board: Dashboard, tmp_path: Path) -> None:
    package = tmp_path / "working_dir.zip"
    package.write_bytes(b"PK\x05\x06" + b"\0" * 18)
    asked = JobAsk("n-1", "python x.py", package, ("lightgbm",), 2.0, 1 << 30, {"pool": "ondemand"})

    jobs = RayJobs(checked_address(f"{board.url}/"))
    jobs.submit(asked)

    assert jobs.ray_version == "2.60.0"
    sent = board.jobs["n-1"]["asked"]
    assert sent["entrypoint"] == "python x.py"
    assert sent["entrypoint_num_cpus"] == 2.0
    assert sent["entrypoint_memory"] == 1 << 30
    assert sent["entrypoint_label_selector"] == {"pool": "ondemand"}
    assert sent["runtime_env"]["pip"]["packages"] == ["lightgbm"]
    assert sent["runtime_env"]["working_dir"].startswith("gcs://")
    assert list(board.packages.values()) == [package.read_bytes()]
    assert jobs.find("n-1") == JobState("SUCCEEDED", "ended", 0)
    assert jobs.find("n-2") is None


def test_an_id_is_taken_once(board: Dashboard) -> None:
    jobs = RayJobs(board.url)
    jobs.submit(ASK)

    with pytest.raises(SubmitError) as caught:
        jobs.submit(ASK)

    assert str(caught.value) == (
        f"this id is taken already. id=nightly-1, at={board.url}\n"
        "  `rayorch show nightly-1` says how it stands; for another run, choose another --id"
    )


def test_two_that_submit_one_id_at_once_begin_one_job(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked before either asked: Ray answers the second with HTTP 500."""
    jobs = RayJobs(board.url)
    jobs.submit(ASK)
    monkeypatch.setattr(jobs, "find", lambda _: None)

    with pytest.raises(SubmitError, match=r"this id is taken already\. id=nightly-1"):
        jobs.submit(ASK)


def test_a_submission_that_was_not_answered_is_looked_up(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have arrived: asked again under another id it would run twice."""
    monkeypatch.setattr(ray_jobs, "ANSWER_S_MAX", 0.2)
    jobs = RayJobs(board.url)
    board.hangs_on = "/api/jobs/"
    real = board.submit

    def arrives(asked: dict[str, object]) -> tuple[int, object]:
        board.hangs_on = ""
        return real(asked)

    board.release.set()  # The first wait ends at once: what follows decides.
    monkeypatch.setattr(board, "submit", arrives)
    jobs.submit(ASK)
    assert "nightly-1" in board.jobs


def test_a_dashboard_that_hangs_is_not_waited_for_for_ever(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_jobs, "ANSWER_S_MAX", 0.2)
    board.hangs_on = "/api/version"

    with pytest.raises(NoAnswerError) as caught:
        RayJobs(board.url)

    first, fix = str(caught.value).splitlines()
    assert first == f"{board.url} did not answer within 0.2 s when asked over HTTP"
    assert "`ray job list --address URL`" in fix


def test_where_nobody_listens_the_ways_to_reach_a_dashboard_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(ClusterError) as caught:
            RayJobs(url)

    text = str(caught.value)
    assert text.startswith(
        f"no Ray cluster answers. address={url}\n  [Errno 111] Connection refused\n"
    )
    assert "`ray dashboard cluster.yaml`" in text
    assert "kubectl port-forward" in text


@pytest.mark.parametrize(
    ("sent", "said"), [(None, "no token was sent"), ("wrong", "it refuses our token")]
)
def test_a_token_that_is_missing_or_wrong_is_told_apart(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch, sent: str | None, said: str
) -> None:
    board.token = TOKEN
    sends(sent, monkeypatch)

    with pytest.raises(ClusterError) as caught:
        RayJobs(board.url)

    lines = str(caught.value).splitlines()
    assert lines[1].startswith(f"  {said}: Authentication ")
    assert lines[2].startswith("  copy the cluster's token")
    assert lines[-1] == "  `export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE`"

    sends(TOKEN, monkeypatch)
    RayJobs(board.url)


@pytest.mark.parametrize(
    ("version", "said"),
    [(["what"], "what answers there is no Ray dashboard"), ("<html>", "no Ray dashboard")],
)
def test_another_server_at_that_address_is_no_cluster(
    board: Dashboard, version: object, said: str
) -> None:
    board.version = version

    with pytest.raises(ClusterError, match=said):
        RayJobs(board.url)


@pytest.mark.parametrize(
    "address", ["10.0.0.7:6379", "ray://h:10001", "auto", "http://", "ftp://h"]
)
def test_an_address_that_is_no_dashboards_is_refused_with_one_that_is(address: str) -> None:
    with pytest.raises(SubmitError, match=r"--address http://127\.0\.0\.1:8265"):
        checked_address(address)
