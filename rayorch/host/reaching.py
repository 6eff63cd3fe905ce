"""Whether something answers at a Ray address, and whether it speaks to us as we would to it.

Ray itself would try for minutes, and write to the terminal meanwhile.
"""

import os
import socket
import ssl
from typing import Final

from rayorch.errors import ClusterError
from rayorch.host.ray_errors import TLS_FIX

CONNECT_S_MAX: Final = 5.0


def unreachable(address: str) -> ClusterError | None:
    """Return why a driver could not use what is at an address, or nothing when it could."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return None  # A word of Ray's own, such as "auto".
    try:
        with socket.create_connection((host, int(port)), CONNECT_S_MAX) as connected:
            theirs = _speaks_tls(connected)
    except OSError as error:
        return ClusterError(address, str(error))
    # As Ray itself reads it.
    ours = os.environ.get("RAY_USE_TLS", "0").lower() in {"1", "true"}
    if theirs is None or theirs == ours:
        return None
    speakers = (
        "it speaks TLS, and this process does not",
        "this process speaks TLS, and it does not",
    )
    return ClusterError(address, speakers[ours], TLS_FIX)


def _speaks_tls(connected: socket.socket) -> bool | None:
    """Return whether the other side shakes hands; nothing, when it does not answer in time.

    What certificate it has is for Ray to judge: nothing is sent but the greeting.
    """
    greeting = ssl.create_default_context()
    greeting.check_hostname = False
    greeting.verify_mode = ssl.CERT_NONE
    greeting.set_alpn_protocols(["h2"])
    try:
        with greeting.wrap_socket(connected):
            return True
    except TimeoutError:
        return None
    except OSError as error:
        # An alert is an answer in TLS, as when it wants a certificate of ours at once.
        return "alert" in str(error).lower()
