"""The stores that pass one contract, and the server behind some of them."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from connectors.range_cache import RangeCache
from connectors.store import Store, open_store
from connectors.stores import generic
from connectors.stores.cached import CachedStore
from connectors.url import parse_url
from tests.azurite import CONTAINER, is_installed, running_azurite
from tests.google_server import GoogleServer, running_google
from tests.s3_server import S3Server, running_s3

KINDS = (
    "local",
    "memory",
    "generic-memory",
    "cached",
    pytest.param("s3", marks=pytest.mark.e2e),
    pytest.param("generic-s3", marks=pytest.mark.e2e),
    pytest.param("gs", marks=pytest.mark.e2e),
    # Its server is no dependency of ours.
    pytest.param("az", marks=[pytest.mark.e2e, pytest.mark.slow]),
)

# So that a fault of the store under test ends the test, not the time limit of all.
IMPATIENT = {"timeout_s": "20", "deadline_s": "30"}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for all tests; each takes a prefix of its own."""
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Have the server be the one that every client of this test finds."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def google_server() -> Iterator[GoogleServer]:
    """One server for all tests; each takes a prefix of its own."""
    with running_google() as server:
        yield server


@pytest.fixture
def google(google_server: GoogleServer, monkeypatch: pytest.MonkeyPatch) -> GoogleServer:
    """Have the server be the one that every client of this test finds."""
    for name, value in google_server.environment().items():
        monkeypatch.setenv(name, value)
    return google_server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One server for all tests, where one is installed."""
    if not is_installed():
        pytest.skip("no azurite-blob on the PATH: npm install -g azurite")
    with running_azurite(tmp_path_factory.mktemp("azurite")) as environment:
        yield environment


@pytest.fixture
def az(azurite: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the server be the one that every client of this test finds; the URL of a container."""
    for name, value in azurite.items():
        monkeypatch.setenv(name, value)
    return f"az://{CONTAINER}"


@pytest.fixture
def s3_bucket(s3: S3Server) -> str:
    """The URL of a bucket."""
    return s3.url


@pytest.fixture
def gs_bucket(google: GoogleServer) -> str:
    """The URL of a bucket."""
    return google.url


@pytest.fixture
def az_bucket(az: str) -> str:
    """The URL of a container."""
    return az


@pytest.fixture
def fresh_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses, with a space in it, since users' buckets have them."""
    return f"{request.node.originalname} {os.urandom(4).hex()}"


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, fresh_name: str) -> Store:
    """An empty store of each kind."""
    kind: str = request.param
    if kind == "local":
        return open_store(str(tmp_path / "a root"))
    if kind == "memory":
        return open_store(f"memory://{fresh_name}/root")
    if kind == "cached":
        cache = RangeCache(str(tmp_path / "cache"), 64 << 20)
        return CachedStore(open_store(f"memory://{fresh_name}/root"), cache)
    if kind == "generic-memory":
        return trusted_generic(f"memory://{fresh_name}/root")
    bucket: str = request.getfixturevalue(f"{kind.removeprefix('generic-')}_bucket")
    url = f"{bucket}/{fresh_name}"
    return trusted_generic(url) if kind == "generic-s3" else open_store(url, IMPATIENT)


def trusted_generic(url: str, options: Mapping[str, str] | None = None) -> generic.GenericStore:
    """A store over fsspec, as if it had passed the race; that has tests of its own."""
    store = generic.open_location(parse_url(url), options or {})
    store.trust_exclusive_create()
    return store
