"""A server that greets, in TLS or without, and does no more."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# A frame of settings, with which a server of HTTP/2, and so of gRPC, begins.
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@contextmanager
def served(context: ssl.SSLContext | None = None, *, silent: bool = False) -> Iterator[str]:
    """Give the address of a server that greets each who comes, in TLS or without."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, suppress(OSError):
                    if silent:
                        client.recv(1 << 16)  # What comes is read, and nothing said.
                        client.recv(1)
                    elif context:
                        with context.wrap_socket(client, server_side=True) as secured:
                            secured.recv(1)
                    else:
                        client.sendall(SETTINGS)
                        client.recv(1)

        greeting = threading.Thread(target=greet)
        greeting.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            greeting.join()
