"""What every test gets: no stray settings, and rules that a unit test cannot break.

A test without a marker is a unit test, and one marked `sim` brings its own clock and store. Both
are refused a Ray of their own, a sleep in our code, and any address but loopback: such a test is
slow or flaky before it is wrong.
"""

import asyncio
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import hypothesis
import pytest

# One definition for all folders, or each would start a Ray of its own.
from tests.warm_ray import failpoint_file, warm_ray  # noqa: F401 - fixtures

# A test in one of these folders has that marker, whether its author thought of it or not.
FOLDER_MARKERS: Final = ("sim", "cluster", "e2e")
# These start real processes on purpose.
UNGUARDED_MARKERS: Final = ("cluster", "e2e", "slow", "chaos")
OUR_PACKAGES: Final = ("rayorch", "connectors", "placement", "tests")
TESTS: Final = Path(__file__).parent

# A seed per test, not per day: a failure is the same one for everybody. Time limits are pytest's.
hypothesis.settings.register_profile("rayorch", derandomize=True, deadline=None)
hypothesis.settings.load_profile("rayorch")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the folder that it is in, and run those that share a Ray last.

    Once it is up, this process is connected to it and its address is in the environment, which is
    no place for a test that must do without.
    """
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in FOLDER_MARKERS:
            item.add_marker(folder)
    items.sort(key=lambda item: item.get_closest_marker("cluster") is not None)


@pytest.fixture(autouse=True, scope="session")
def _own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's home, cluster and cloud account."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [key for key in os.environ if key.startswith(("RAYORCH_", "RAY_ADDRESS"))]:
            patch.delenv(name)
        patch.setenv("RAYORCH_HOME", tmp_path_factory.mktemp("home").as_uri())
        # Without it, a missing credential is a long wait for the cloud's metadata address.
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(autouse=True)
def _unit_test_rules(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Refuse what a unit test may not do; see the top of this file."""
    if any(request.node.get_closest_marker(name) for name in UNGUARDED_MARKERS):
        yield
        return
    _refuse_sleep(monkeypatch)
    _refuse_network(monkeypatch)
    # By sys.modules, since naming `ray.init` would import Ray for every unit test.
    if (ray := sys.modules.get("ray")) is not None:
        monkeypatch.setattr(ray, "init", _refuse_ray)
    yield
    # Catches the Ray that was imported during the test.
    if (ray := sys.modules.get("ray")) is not None and ray.is_initialized():
        ray.shutdown()
        _refuse_ray()


def _refuse_ray(*_args: object, **_options: object) -> NoReturn:
    pytest.fail("a unit test started Ray: mark it `cluster` or use the in-process executor")


def _refuse_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    real_sleep = time.sleep  # noqa: TID251 what the standard library still gets
    real_async_sleep = asyncio.sleep

    def sleep(seconds: float) -> None:
        # Only our own: subprocess.run(timeout=...), for one, sleeps inside the standard library.
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.partition(".")[0] in OUR_PACKAGES:
            pytest.fail(f"a unit test slept: take a Clock. caller={caller}, seconds={seconds}")
        real_sleep(seconds)

    # Not `async def`: its frame would be called by the event loop, not by the one who sleeps.
    def async_sleep(delay: float, result: Any = None) -> Coroutine[Any, Any, Any]:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        # A sleep of zero is how a coroutine lets the others run.
        if delay > 0 and caller.partition(".")[0] in OUR_PACKAGES:
            pytest.fail(f"a unit test slept: take a Clock. caller={caller}, seconds={delay}")
        return real_async_sleep(delay, result)

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(asyncio, "sleep", async_sleep)


def _refuse_network(monkeypatch: pytest.MonkeyPatch) -> None:
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex
    real_getaddrinfo = socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        _require_loopback(self.family, address)
        real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        _require_loopback(self.family, address)
        return real_connect_ex(self, address)

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        _require_loopback(socket.AF_INET, (host,))
        return real_getaddrinfo(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def _require_loopback(family: int, address: Any) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = address[0].decode() if isinstance(address[0], bytes) else address[0]
    if host is None or host in ("", "localhost"):
        return
    try:
        outside = not ipaddress.ip_address(host).is_loopback
    except ValueError:
        outside = True
    if outside:
        pytest.fail(f"a unit test used the network. host={host}")
