"""A cloud's metadata service on loopback: the protocols of AWS and Google Cloud, to the headers."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ASK_PATH = "/latest/api/token"
AWS_ACTION = "/latest/meta-data/spot/instance-action"
GCP_PREEMPTED = "/computeMetadata/v1/instance/preempted"


class MetadataServer:
    """What a test says of the machine, told as a cloud tells it."""

    def __init__(self) -> None:
        self.aws_notice: bytes | None = None
        self.gcp_preempted = False
        self.tokens = 0  # given so far; only the newest is good
        self.is_broken = False
        self.asked = threading.Condition()
        self.count = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def forget_tokens(self) -> None:
        """Let the token that was given last be good no more."""
        self.tokens += 1

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, bytes]:
        with self.asked:
            self.count += 1
            self.asked.notify_all()
        if self.is_broken:
            return 500, b"out of order"
        if path == ASK_PATH:
            return self._token(method, headers)
        if path == AWS_ACTION:
            return self._action(headers)
        return self._preempted(headers) if path == GCP_PREEMPTED else (404, b"")

    def _action(self, headers: Any) -> tuple[int, bytes]:
        if headers.get("X-aws-ec2-metadata-token") != f"token-{self.tokens}":
            return 401, b"Unauthorized"
        return (200, self.aws_notice) if self.aws_notice is not None else (404, b"")

    def _preempted(self, headers: Any) -> tuple[int, bytes]:
        if headers.get("Metadata-Flavor") != "Google":
            return 403, b"Missing Metadata-Flavor:Google header."
        return 200, b"TRUE" if self.gcp_preempted else b"FALSE"

    def _token(self, method: str, headers: Any) -> tuple[int, bytes]:
        if method != "PUT":
            return 405, b""
        if not headers.get("X-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
            return 400, b"Bad Request"
        self.tokens += 1
        return 200, f"token-{self.tokens}".encode()


def _handler(server: MetadataServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply("GET")

        def do_PUT(self) -> None:
            self._reply("PUT")

        def _reply(self, method: str) -> None:
            status, body = server.answer(method, self.path, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    return Handler
