"""Whole runs with home, input and output where Google's and Azure's protocols are spoken."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rayorch import client
from rayorch.clock import SystemClock
from rayorch.fsck.examine import examine
from rayorch.home import open_home
from tests.azurite import ACCOUNT, CONTAINER, is_installed, running_azurite
from tests.cluster.drill import FILES, ROWS
from tests.connectors.stores.lossy_proxy import lossy_proxy
from tests.e2e.test_s3_run import FORMATS, Lake, check_losses
from tests.google_server import BUCKET, running_google

clock = SystemClock()
ENDPOINTS = {"google": "GOOGLE_BASE_URL", "azure": "AZURE_STORAGE_ENDPOINT"}
CLOUDS = ("google", pytest.param("azure", marks=pytest.mark.slow))


@pytest.fixture(params=CLOUDS, scope="module")
def cloud(request: pytest.FixtureRequest) -> str:
    """Whose protocol is spoken."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def environment(cloud: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables under which clients find a server."""
    if cloud == "google":
        with running_google() as server:
            yield server.environment()
        return
    if not is_installed():
        pytest.skip("no azurite-blob on the PATH: npm install -g azurite")
    with running_azurite(tmp_path_factory.mktemp("azurite")) as found:
        yield found


@pytest.fixture
def lake(
    cloud: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Lake:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Lake(tmp_path, f"gs://{BUCKET}" if cloud == "google" else f"az://{CONTAINER}")


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_reads_and_writes_there(lake: Lake, form: str) -> None:
    report = client.run(lake.pipeline(form), home=lake.home, executor="in-process", display=None)

    assert report.rows_out == FILES * ROWS
    lake.check()
    examined = examine(open_home(lake.home), clock).examined
    assert examined.findings == []
    assert (examined.looked.files, examined.looked.unsummed) == (FILES, 0)


@pytest.mark.parametrize("form", FORMATS)
def test_replies_that_are_lost_commit_nothing_twice(
    cloud: str,
    environment: dict[str, str],
    lake: Lake,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server has done what was asked, and nobody hears of it: journal, plan, table, files."""
    port = urlsplit(environment[ENDPOINTS[cloud]]).port
    assert port is not None
    with lossy_proxy(port) as proxy:
        path = "" if cloud == "google" else f"/{ACCOUNT}"
        monkeypatch.setenv(ENDPOINTS[cloud], proxy.url + path)
        check_losses(lake, form, proxy)
