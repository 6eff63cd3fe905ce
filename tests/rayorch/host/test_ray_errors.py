"""What Ray raises when it cannot be used, as a person should read it."""

import platform
from importlib.metadata import version

from rayorch.host.ray_errors import cluster_error

MISMATCH = """Version mismatch: The cluster was started with:
    Ray: 2.48.0
    Python: 3.12.4
This process on node 10.0.0.7 was started with:
    Ray: 2.60.0
    Python: 3.11.7
"""


def test_another_version_is_named_with_what_to_install() -> None:
    text = str(cluster_error("10.0.0.7:6379", RuntimeError(MISMATCH)))

    assert text == (
        "10.0.0.7:6379 runs Ray 2.48.0 on Python 3.12.4, and this process "
        f"Ray {version('ray')} on Python {platform.python_version()}\n"
        "  in an environment of Python 3.12: `pip install ray==2.48.0`;\n"
        "  or let the cluster run the file: `rayorch submit FILE --address http://HEAD:8265`"
    )


def test_a_refused_token_says_where_the_right_one_is() -> None:
    text = str(cluster_error("h:6379", RuntimeError("\nInvalidAuthToken: the token is wrong")))

    assert text.startswith(
        "no Ray cluster answers. address=h:6379\n"
        "  it refuses our token: InvalidAuthToken: the token is wrong\n"
        "  copy the cluster's token (on its head: `ray get-auth-token`"
    )
    assert "RAY_AUTH_TOKEN_PATH=FILE" in text


def test_one_side_without_tls_is_told_of() -> None:
    text = str(cluster_error("h:6379", ConnectionError("Ssl handshake failed: wrong version")))

    assert text.endswith(
        "  set RAY_USE_TLS and its certificates here as on the cluster, or nowhere"
    )


def test_whatever_else_it_was_is_said_in_one_line() -> None:
    text = str(cluster_error("h:6379", ValueError("cannot\nat line 1")))

    assert text.splitlines()[1] == "  cannot"
    assert "RuntimeError" in str(cluster_error("h:6379", RuntimeError()))
