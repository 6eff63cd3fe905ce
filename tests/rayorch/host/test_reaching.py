"""An address is looked at before Ray is: what answers there, and whether it speaks TLS."""

import socket
import ssl
from pathlib import Path

import pytest

from rayorch.host import reaching
from rayorch.host.reaching import unreachable
from tests.certificates import write_certificate
from tests.greeting_server import served


@pytest.fixture
def secured(tmp_path: Path) -> ssl.SSLContext:
    """What a node of Ray does: it has a certificate, and wants one of who comes."""
    certificate, key = write_certificate(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    return context


def why(address: str) -> str:
    refusal = unreachable(address)
    return str(refusal) if refusal else ""


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_one_that_speaks_as_we_do_can_be_used(
    scheme: str, secured: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served() as address:
        assert why(scheme + address) == ""

    monkeypatch.setenv("RAY_USE_TLS", "1")
    with served(secured) as address:
        assert why(scheme + address) == ""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_one_that_speaks_tls_is_not_come_to_without(
    secured: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    secured.minimum_version = secured.maximum_version = version

    with served(secured) as address:
        assert why(address) == (
            f"no Ray cluster answers. address={address}\n"
            "  it speaks TLS, and this process does not\n"
            "  set RAY_USE_TLS and its certificates here as on the cluster, or nowhere"
        )


@pytest.mark.parametrize("said", ["1", "true", "True"])
def test_one_without_tls_is_not_come_to_with_it(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", said)

    with served() as address:
        assert "this process speaks TLS, and it does not" in why(address)


def test_one_that_is_slow_to_greet_is_left_to_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "CONNECT_S_MAX", 0.2)

    with served(silent=True) as address:
        assert why(address) == ""


def test_nobody_at_an_address_is_said_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

    assert why(address).splitlines()[2:] == [
        "  `ray status`, on its head, says whether it is up; from outside its network, let it",
        "  run the file: `rayorch submit FILE --address http://HEAD:8265`;",
        "  unset RAY_ADDRESS for a Ray of our own, which `rayorch up` keeps warm",
    ]


def test_a_word_of_rays_own_is_left_to_ray() -> None:
    assert unreachable("auto") is None
