"""A TCP proxy that loses the reply to one PUT that the server has carried out."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_CHUNK_BYTES: Final = 65536


@dataclass
class LossyProxy:
    """Passes everything on, but for the replies that it is told to lose."""

    upstream_port: int
    listener: socket.socket
    # How many replies to a PUT are still to be lost.
    to_lose: int = 0
    lost: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        server = socket.create_connection(("127.0.0.1", self.upstream_port))
        is_put = threading.Event()
        upward = threading.Thread(target=_pump_up, args=(client, server, is_put), daemon=True)
        upward.start()
        with client, server, suppress(OSError):
            while chunk := server.recv(_CHUNK_BYTES):
                if is_put.is_set() and self._loses():
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(chunk)

    def _loses(self) -> bool:
        with self.lock:
            if self.to_lose == 0:
                return False
            self.to_lose -= 1
            self.lost += 1
            return True


def _pump_up(client: socket.socket, server: socket.socket, is_put: threading.Event) -> None:
    with suppress(OSError):
        while chunk := client.recv(_CHUNK_BYTES):
            if chunk.startswith(b"PUT "):
                is_put.set()
            elif chunk.startswith((b"GET ", b"HEAD ")):
                is_put.clear()
            server.sendall(chunk)


@contextmanager
def lossy_proxy(upstream_port: int) -> Iterator[LossyProxy]:
    """Run a proxy in front of a port, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = LossyProxy(upstream_port, listener)
        server = threading.Thread(target=proxy.serve, daemon=True)
        server.start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        server.join()
