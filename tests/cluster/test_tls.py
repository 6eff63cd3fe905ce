"""A Ray that speaks TLS alone: runs go through it, and who comes without is told what to do."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.certificates import write_certificate
from tests.cluster.drill import FILES, check_rows, start_cli, write_input, write_pipeline

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]
WAIT_S_MAX = 180


def certificate_of(folder: Path) -> dict[str, str]:
    """Return what Ray reads of a certificate of our own, for every address that it may take."""
    found = [each for some in psutil.net_if_addrs().values() for each in some]
    here = [each.address for each in found if each.family == socket.AF_INET]
    certificate, key = write_certificate(folder, *here)
    return {
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": str(certificate),
        "RAY_TLS_SERVER_KEY": str(key),
        "RAY_TLS_CA_CERT": str(certificate),
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_input(tmp_path / "in")
    write_pipeline(tmp_path, tmp_path / "gate", FILES)
    return tmp_path


@pytest.fixture
def own(folder: Path) -> dict[str, str]:
    """The environment of somebody who has no other Ray."""
    return {
        "XDG_STATE_HOME": str(folder / "state"),
        "RAYORCH_HOME": str(folder / "home"),
        "RAYORCH_EXECUTOR": "ray",
        "RAY_ADDRESS": "",
    }


@pytest.fixture
def secured(folder: Path, own: dict[str, str]) -> Iterator[dict[str, str]]:
    """The same environment with the certificate, as long as a Ray that has it is up."""
    secured = {**own, **certificate_of(folder)}
    try:
        yield secured
    finally:
        said(folder, secured, "down")


def said(folder: Path, own: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start_cli(folder, *arguments, **own)
    out, err = process.communicate(timeout=WAIT_S_MAX)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def test_runs_go_through_a_ray_that_speaks_tls_and_none_goes_past_it(
    folder: Path, own: dict[str, str], secured: dict[str, str]
) -> None:
    up = said(folder, secured, "up", "--slots", "1", "--json")
    assert up.returncode == 0, up.stderr
    host, _, port = json.loads(up.stdout)["address"].rpartition(":")

    run = said(folder, secured, "run", "pipeline.py", "--json")
    without = said(folder, own, "run", "pipeline.py")

    assert run.returncode == 0, run.stderr
    check_rows(folder / "out")
    certificate = (folder / "tls.crt").read_text()
    assert ssl.get_server_certificate((host, int(port))).strip() == certificate.strip()
    assert without.returncode == 2
    assert "it speaks TLS, and this process does not" in without.stderr
    assert "set RAY_USE_TLS and its certificates here as on the cluster" in without.stderr
