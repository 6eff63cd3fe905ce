"""Whole runs with home, input and output where the server speaks as Google Cloud Storage does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch import client
from rayorch.clock import SystemClock
from rayorch.fsck.examine import examine
from rayorch.home import open_home
from tests.cluster.drill import FILES, ROWS
from tests.connectors.stores.lossy_proxy import lossy_proxy
from tests.e2e.test_s3_run import FORMATS, Lake, begun, followed
from tests.google_server import GoogleServer, running_google

clock = SystemClock()


@pytest.fixture(scope="module")
def server() -> Iterator[GoogleServer]:
    with running_google() as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path, server: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> Lake:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Lake(tmp_path, server.url)


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_reads_and_writes_google(lake: Lake, form: str) -> None:
    report = client.run(lake.pipeline(form), home=lake.home, executor="in-process", display=None)

    assert report.rows_out == FILES * ROWS
    lake.check()
    examined = examine(open_home(lake.home), clock).examined
    assert examined.findings == []
    assert (examined.looked.files, examined.looked.unsummed) == (FILES, 0)


@pytest.mark.parametrize("form", FORMATS)
def test_replies_that_are_lost_commit_nothing_twice(
    lake: Lake, server: GoogleServer, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has done what was asked, and nobody hears of it: journal, plan, table, files."""
    with lossy_proxy(server.port) as proxy:
        monkeypatch.setenv("GOOGLE_BASE_URL", proxy.url)
        control, run = begun(lake, lake.pipeline(form))
        try:
            proxy.to_lose = 6
            followed(control, lake, run)
        finally:
            control.close()
        assert proxy.lost == 6

        lake.check()
