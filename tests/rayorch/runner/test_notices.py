"""Notices of AWS and Google Cloud, asked of a local service that speaks their protocols."""

import queue
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayorch.clock import SystemClock
from rayorch.runner import notices
from rayorch.runner.errors import NoticesError
from rayorch.runner.notices import AwsNotices, GcpNotices, Notice, NoticeWatch, found_notices
from rayorch.settings import Metadata
from tests.rayorch.runner.metadata_server import MetadataServer

AT = datetime(2026, 11, 22, 8, 22, tzinfo=UTC)
TERMINATE = b'{"action": "terminate", "time": "2026-11-22T08:22:00Z"}'
HEARD_S_MAX = 30.0


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    server = MetadataServer()
    try:
        yield server
    finally:
        server.close()


def test_aws_is_asked_with_a_token_and_says_when(server: MetadataServer) -> None:
    aws = AwsNotices(server.url)
    assert aws.look() is None

    server.aws_notice = TERMINATE

    expected = Notice(AT.timestamp(), "AWS takes the spot instance back: terminate")
    assert aws.look() == expected
    assert server.tokens == 1


def test_aws_is_given_another_token_when_the_first_has_run_out(server: MetadataServer) -> None:
    aws = AwsNotices(server.url)
    assert aws.look() is None

    server.forget_tokens()
    server.aws_notice = TERMINATE

    assert aws.look() is not None


@pytest.mark.parametrize("said", [b"", b"{}", b'{"action": "stop", "time": "soon"}'])
def test_a_notice_that_nobody_understands_is_told_of(server: MetadataServer, said: bytes) -> None:
    server.aws_notice = said

    with pytest.raises(NoticesError, match="instance-action says"):
        AwsNotices(server.url).look()


def test_google_is_asked_with_its_header_and_gives_half_a_minute(server: MetadataServer) -> None:
    clock = SystemClock()
    google = GcpNotices(server.url, clock)
    assert google.look() is None

    server.gcp_preempted = True
    notice = google.look()

    assert notice is not None
    assert 0.0 < notice.until_s - clock.now_s() <= notices.GCP_NOTICE_S


def test_a_service_that_is_out_of_order_is_no_notice(server: MetadataServer) -> None:
    server.is_broken = True
    for each in (AwsNotices(server.url), GcpNotices(server.url, SystemClock())):
        with pytest.raises(NoticesError, match="500"):
            each.look()


def test_the_cloud_that_answers_is_the_one_to_ask(server: MetadataServer) -> None:
    nobody = "http://127.0.0.1:9"
    clock = SystemClock()

    assert found_notices(Metadata(aws_url=nobody, gcp_url=nobody), clock) is None
    assert found_notices(Metadata(aws_url="", gcp_url=""), clock) is None
    aws = found_notices(Metadata(aws_url=server.url, gcp_url=nobody), clock)
    google = found_notices(Metadata(aws_url=nobody, gcp_url=server.url), clock)
    assert (type(aws), type(google)) == (AwsNotices, GcpNotices)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AwsNotices, "poll_s", 0.01)
    monkeypatch.setattr(notices, "RETRY_S", 0.01)


@pytest.mark.usefixtures("quick")
def test_a_watch_passes_a_notice_on_once_whatever_went_wrong_before(
    server: MetadataServer, tmp_path: Path
) -> None:
    heard: queue.SimpleQueue[Notice] = queue.SimpleQueue()
    watch = NoticeWatch(lambda: AwsNotices(server.url), heard.put, tmp_path / "lock")
    watch.start()
    try:
        server.is_broken = True
        with server.asked:
            count = server.count
            assert server.asked.wait_for(lambda: server.count > count + 2, HEARD_S_MAX)
        server.aws_notice, server.is_broken = TERMINATE, False

        assert heard.get(timeout=HEARD_S_MAX).until_s == AT.timestamp()
    finally:
        watch.close()
    assert heard.empty()


@pytest.mark.usefixtures("quick")
def test_one_process_of_a_node_watches_and_another_takes_over(
    server: MetadataServer, tmp_path: Path
) -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    first = NoticeWatch(
        lambda: AwsNotices(server.url), lambda _: heard.put("first"), tmp_path / "lock"
    )
    second = NoticeWatch(
        lambda: AwsNotices(server.url), lambda _: heard.put("second"), tmp_path / "lock"
    )
    first.start()
    with server.asked:
        assert server.asked.wait_for(lambda: server.count > 0, HEARD_S_MAX)
    second.start()

    first.close()
    server.aws_notice = TERMINATE

    assert heard.get(timeout=HEARD_S_MAX) == "second"
    second.close()
