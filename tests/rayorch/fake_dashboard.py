"""A dashboard that speaks Ray's job API on loopback and runs nothing.

What the real one answers was looked at, which tests/cluster has: states and texts are its own.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOKEN: Final = "right"  # noqa: S105 - nobody's.
Run = Callable[[dict[str, Any]], tuple[int, str]]


class Dashboard:
    """What it knows of jobs, and how it is to behave."""

    def __init__(self) -> None:
        self.url = ""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.logs: dict[str, str] = {}
        self.packages: dict[str, bytes] = {}
        self.stopped: list[str] = []
        self.token: str | None = None  # that requests must bring
        self.starts = True  # else jobs stay pending
        self.runs: Run = lambda _: (0, "")
        self.version: Any = {"ray_version": "2.60.0", "version": "4"}
        self.submit_status = 200  # of the answer; the job begins all the same
        self.hangs_on = ""  # a path that is never answered
        self.release = threading.Event()

    def submit(self, asked: dict[str, Any]) -> tuple[int, Any]:
        job = asked["submission_id"]
        if job in self.jobs:
            why = f"ValueError: Job with submission_id {job} already exists."
            return 500, f"Traceback (most recent call last):\n  ...\n{why}"
        state = {"type": "SUBMISSION", "submission_id": job, "entrypoint": asked["entrypoint"]}
        self.jobs[job] = {
            **state,
            "status": "PENDING",
            "message": "waiting for resources",
            "asked": asked,
        }
        if self.starts:
            code, self.logs[job] = self.runs(asked)
            status = "SUCCEEDED" if code == 0 else "FAILED"
            self.jobs[job] |= {"status": status, "driver_exit_code": code, "message": "ended"}
        return self.submit_status, {"job_id": job, "submission_id": job}


class _Handler(BaseHTTPRequestHandler):
    dashboard: Dashboard

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = self._content(method, body)
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _content(self, method: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911 - a table.
        board = self.dashboard
        if board.hangs_on and self.path.startswith(board.hangs_on):
            board.release.wait(30.0)
        sent = self.headers.get("Authorization")
        if board.token is not None and sent != f"Bearer {board.token}":
            return (
                (401, "Unauthorized: Missing token")
                if sent is None
                else (403, "Forbidden: Invalid token")
            )
        parts = self.path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "api", "version"):
                return 200, board.version
            case ("POST", "api", "jobs"):
                return board.submit(json.loads(body))
            case ("GET", "api", "jobs", job, "logs"):
                return 200, {"logs": board.logs.get(job, "")}
            case ("POST", "api", "jobs", job, "stop"):
                board.stopped.append(job)
                return 200, {"stopped": True}
            case ("GET", "api", "jobs", job):
                return (
                    (200, board.jobs[job])
                    if job in board.jobs
                    else (404, f"Job {job} does not exist")
                )
            case ("GET", "api", "packages", _, name):
                return (200, {}) if name in board.packages else (404, "no such package")
            case ("PUT", "api", "packages", _, name):
                board.packages[name] = body
                return 200, {}
            case _:
                return 404, "404: Not Found"


@contextmanager
def fake_dashboard() -> Iterator[Dashboard]:
    """Serve on a free port of loopback."""
    board = Dashboard()
    handler = type("Handler", (_Handler,), {"dashboard": board})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    board.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield board
    finally:
        board.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
