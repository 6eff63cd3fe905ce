"""A proxy before an S3 server that answers some requests with 503 SlowDown, or not at all."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_CHUNK_BYTES: Final = 65536
_BODY: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_SLOW_DOWN: Final = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


@dataclass
class ThrottlingProxy:
    """Refuses the first request of every `refuse_each`-th connection; passes on all else.

    The first `drop_first` connections are closed without an answer, as by a server that starts.
    """

    upstream_port: int
    listener: socket.socket
    # 0: none. 1: all of them.
    refuse_each: int = 0
    drop_first: int = 0
    connections: int = 0
    refused: int = 0
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
        with client, suppress(OSError):
            if self._drops():
                return
            if self._refuses():
                client.recv(_CHUNK_BYTES)
                client.sendall(_SLOW_DOWN)
                client.shutdown(socket.SHUT_WR)
                # A body that is still coming is read, or the answer would be lost to a reset.
                while client.recv(_CHUNK_BYTES):
                    pass
                return
            with socket.create_connection(("127.0.0.1", self.upstream_port)) as server:
                upward = threading.Thread(target=_pump, args=(client, server), daemon=True)
                upward.start()
                _pump(server, client)

    def _drops(self) -> bool:
        with self.lock:
            drops = self.drop_first > 0
            self.drop_first -= drops
            return drops

    def _refuses(self) -> bool:
        with self.lock:
            self.connections += 1
            refuses = self.refuse_each > 0 and self.connections % self.refuse_each == 0
            self.refused += refuses
            return refuses


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK_BYTES):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def throttling_proxy(upstream_port: int) -> Iterator[ThrottlingProxy]:
    """Run a proxy until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = ThrottlingProxy(upstream_port, listener)
        threading.Thread(target=proxy.serve, daemon=True).start()
        yield proxy
