"""The rules of conftest hold: a guard that never fires is worse than none."""

import asyncio
import os
import socket
import subprocess
import sys
import time

import pytest
from _pytest.outcomes import Failed


def test_a_sleep_in_our_code_fails_the_test() -> None:
    with pytest.raises(Failed, match="slept"):
        time.sleep(0.001)  # noqa: TID251 the guard is what is tested


def test_an_async_sleep_in_our_code_fails_the_test() -> None:
    with pytest.raises(Failed, match="slept"):
        asyncio.run(asyncio.sleep(0.001))


def test_a_coroutine_may_let_the_others_run() -> None:
    asyncio.run(asyncio.sleep(0))


def test_a_sleep_in_the_standard_library_is_its_own_affair() -> None:
    """subprocess.run with a timeout polls its child."""
    done = subprocess.run([sys.executable, "-c", "print(1)"], check=True, timeout=30)

    assert done.returncode == 0


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.invalid", 80)])
def test_an_address_outside_this_machine_fails_the_test(address: tuple[str, int]) -> None:
    with socket.socket() as client, pytest.raises(Failed, match="network"):
        client.connect(address)


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        client.close()


def test_no_setting_of_the_user_reaches_a_test() -> None:
    assert "RAY_ADDRESS" not in os.environ
    assert os.environ["RAYORCH_HOME"].startswith("file://")
