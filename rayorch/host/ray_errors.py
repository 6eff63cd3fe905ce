"""What Ray raises when a cluster cannot be used, in words that say what to do."""

import platform
import re
from importlib.metadata import version
from typing import Final

from rayorch.errors import ClusterError, RayorchError, RefusedTokenError
from rayorch.submit_errors import VersionsDifferError

ACCESS_FIX: Final = (
    "copy the cluster's token (on its head: `ray get-auth-token`, or the file that\n"
    "RAY_AUTH_TOKEN_PATH names there) into a file that only you can read, and\n"
    "`export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=FILE`"
)
TLS_FIX: Final = "set RAY_USE_TLS and its certificates here as on the cluster, or nowhere"
_VERSION: Final = re.compile(r"Ray: (\S+)\s+Python: (\S+)")
_AUTH: Final = re.compile(r"authenticat|unauthorized|token", re.IGNORECASE)
_TLS: Final = re.compile(r"\b(?:tls|ssl|handshake|certificate)", re.IGNORECASE)


def cluster_error(address: str, error: Exception) -> RayorchError:
    """Return what a failed connection to a cluster means for a person."""
    text = str(error)
    versions = _VERSION.findall(text)
    if "ersion mismatch" in text and versions:
        (ray, python), *_ = versions
        return versions_differ(address, ray, python)
    line = next((line for line in text.splitlines() if line.strip()), type(error).__name__)
    if _AUTH.search(text):
        return RefusedTokenError(address, f"it refuses our token: {line}", ACCESS_FIX)
    if _TLS.search(text):
        return ClusterError(address, line, TLS_FIX)
    return ClusterError(address, line)


def versions_differ(address: str, ray: str, python: str) -> VersionsDifferError:
    """Return the error for a cluster of other versions; drivers must have the same."""
    ours = f"Ray {version('ray')} on Python {platform.python_version()}"
    short = ".".join(python.split(".")[:2])
    fix = (
        f"in an environment of Python {short}: `pip install ray=={ray}`;\n"
        "or let the cluster run the file: `rayorch submit FILE --address http://HEAD:8265`"
    )
    return VersionsDifferError(address, f"Ray {ray} on Python {python}", ours, fix)
