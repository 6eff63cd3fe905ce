"""A server that speaks as Azure's blob storage does, for tests: Azurite, on loopback only.

It is Microsoft's own emulator and comes from npm alone: `npm install -g azurite`. Where it is not
installed, what needs it is skipped; it is no dependency of ours.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyarrow import fs

from rayorch.clock import SystemClock

PROGRAM: Final = "azurite-blob"
ACCOUNT: Final = "devstoreaccount1"
# Of every Azurite, and in its documentation.
KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
CONTAINER: Final = "test"
READY_S_MAX: Final = 60.0


def is_installed() -> bool:
    """Say whether there is an Azurite to start."""
    return shutil.which(PROGRAM) is not None


@contextmanager
def running_azurite(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server with one container; give the variables under which clients find it."""
    clock = SystemClock()
    program = shutil.which(PROGRAM)
    assert program is not None
    port = _free_port()
    command = [program, "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--silent", "--blobHost=127.0.0.1", f"--blobPort={port}"]
    log = folder / "azurite.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as process,
    ):
        try:
            begun_s = clock.monotonic_s()
            while not _answers(port):
                assert process.poll() is None, log.read_text()
                assert clock.monotonic_s() - begun_s < READY_S_MAX, f"{program} does not listen"
                clock.sleep(0.1)
            _client(port).create_dir(CONTAINER)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            }
        finally:
            process.kill()


def _client(port: int) -> fs.AzureFileSystem:
    place = f"127.0.0.1:{port}"
    return fs.AzureFileSystem(
        ACCOUNT,
        account_key=KEY,
        blob_storage_authority=place,
        blob_storage_scheme="http",
        dfs_storage_authority=place,
        dfs_storage_scheme="http",
    )


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
