"""What bad input gets where it takes a process of its own: full disks, limits, a real store."""

import ctypes
import json
import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from connectors.data_errors import NoFilesError
from tests.e2e.throttling_proxy import ThrottlingProxy, throttling_proxy
from tests.s3_server import running_s3

COPY = """
import rayorch as ro
copy = ro.Pipeline("copy", retry=ro.RetryPolicy(attempts_max={attempts_max}, backoff_s=0.05))
copy.read("lines", {source!r}).write({target!r}, format={format!r})
"""


class Shell:
    """Runs the command line in a folder of its own, without Ray."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {
            **os.environ,
            "RAYORCH_HOME": str(folder / "home"),
            "RAYORCH_EXECUTOR": "in-process",
        }

    def write(self, source: object, target: object, format: str = "delta") -> None:  # noqa: A002
        """Write the file of a pipeline that copies."""
        text = COPY.format(source=str(source), target=str(target), format=format, attempts_max=3)
        (self.folder / "job.py").write_text(text)

    def __call__(
        self, *arguments: str, before: Callable[[], object] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "rayorch", *arguments],
            cwd=self.folder,
            env=self.environ,
            preexec_fn=before,
            capture_output=True,
            text=True,
            check=False,
        )

    def measured(self, *arguments: str) -> tuple["subprocess.CompletedProcess[str]", int]:
        """Run a command; return also the most memory that its process had, in bytes."""
        code = (
            "import resource, sys; from rayorch.cli.main import command_exit;"
            "code = command_exit(sys.argv[1:], {});"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        # Linux counts KiB, macOS bytes.
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        return done, int(done.stdout.splitlines()[-1]) * unit_bytes


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def noise(rows: int) -> pa.Table:
    """Rows that no codec makes smaller."""
    rng = random.Random(7)
    return pa.table({"noise": [rng.randbytes(64) for _ in range(rows)]})


# --- the command line ---------------------------------------------------------------------------


def test_a_file_with_a_syntax_error_runs_nothing(shell: Shell) -> None:
    (shell.folder / "job.py").write_text("import rayorch as ro\ncopy = ro.Pipeline('copy'\n")

    done = shell("run", "job.py")

    assert done.returncode == 2
    assert "the pipeline file has a syntax error: '(' was never closed" in done.stderr
    assert f"at {shell.folder}/job.py:2" in done.stderr
    assert not (shell.folder / "home").exists()


def test_a_truncated_file_is_named_in_words_and_in_the_document(shell: Shell) -> None:
    source = shell.folder / "1.parquet"
    pq.write_table(noise(1000), source)
    source.write_bytes(source.read_bytes()[:-100])
    shell.write(source, shell.folder / "out")

    done = shell("run", "job.py", "--json")

    assert done.returncode == 3
    document = json.loads(done.stdout)
    assert document["state"] == "failed"
    assert "it does not end in PAR1; cut short" in document["error"]["message"]
    assert f"file=file://{source}" in document["error"]["message"]
    assert document["outputs"] == []
    with pytest.raises(NoFilesError):
        ro.read(str(shell.folder / "out"), "delta")


# --- no room, no right to write -----------------------------------------------------------------


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_a_disk_that_fills_is_said_and_the_run_goes_on_when_there_is_room(
    shell: Shell,
    format: str,  # noqa: A002
) -> None:
    """A limit on the size of files: the same errors from the same calls as a disk without room."""
    source, out = shell.folder / "1.parquet", shell.folder / "out"
    pq.write_table(noise(40_000), source)
    shell.write(source, out, format)
    limit_bytes = 1 << 20

    done = shell(
        "run",
        "job.py",
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes)),
    )

    assert done.returncode == 3, done.stderr
    assert "the store is full" in done.stderr
    assert "free some space or raise the quota, then resume" in done.stderr
    with pytest.raises(NoFilesError):
        ro.read(str(out), format if format == "delta" else None)

    again = shell("resume", "last")

    assert again.returncode == 0, again.stderr
    assert ro.read(str(out)).to_table().num_rows == 40_000


CAP_DAC_OVERRIDE, PR_CAPBSET_DROP = 1, 24


def as_a_plain_user() -> None:
    """Let permissions count for root, too. The mask takes effect at the exec that follows."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def test_a_home_that_takes_no_writes_is_said_before_anything_runs(shell: Shell) -> None:
    source, out = shell.folder / "1.parquet", shell.folder / "out"
    pq.write_table(noise(10), source)
    shell.write(source, out)
    home = shell.folder / "home"
    home.mkdir(mode=0o500)

    done = shell("run", "job.py", before=as_a_plain_user)

    assert done.returncode == 2, done.stderr
    assert "access denied" in done.stderr
    assert "check the permissions" in done.stderr
    assert f"store=file://{home}" in done.stderr
    assert not out.exists()
    assert list(home.iterdir()) == []


def test_an_output_place_that_takes_no_writes_fails_the_run_once(shell: Shell) -> None:
    source, out = shell.folder / "1.parquet", shell.folder / "out"
    pq.write_table(noise(10), source)
    shell.write(source, out)
    out.mkdir(mode=0o500)

    done = shell("run", "job.py", before=as_a_plain_user)

    assert done.returncode == 3, done.stderr
    assert "access denied" in done.stderr
    assert list(out.iterdir()) == []


# --- a store that throttles ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def throttled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ThrottlingProxy, str]]:
    """A proxy before a real S3 server, and the URL of the bucket."""
    with (
        running_s3(tmp_path_factory.mktemp("s3")) as server,
        throttling_proxy(server.port) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in server.environment().items():
            patch.setenv(name, value.replace(server.endpoint, proxy.url))
        yield proxy, server.url


def test_a_store_that_throttles_slows_a_run_down_and_changes_nothing(
    shell: Shell, throttled: tuple[ThrottlingProxy, str]
) -> None:
    proxy, bucket = throttled
    shell.environ.update({key: value for key, value in os.environ.items() if "AWS" in key})
    rows = pa.table({"id": list(range(1000))})
    seeding = ro.Pipeline("seeding")
    local = shell.folder / "rows.parquet"
    pq.write_table(rows, local)
    seeding.read("rows", str(local)).write(f"{bucket}/in", format="parquet")
    ro.run(seeding, home=str(shell.folder / "home"), executor="in-process")
    shell.write(f"{bucket}/in", f"{bucket}/out", "parquet")
    proxy.refuse_each = 3

    done = shell("run", "job.py", "--home", f"{bucket}/home")
    proxy.refuse_each = 0

    assert done.returncode == 0, done.stderr
    assert proxy.refused > 0
    found = ro.read(f"{bucket}/out").to_table()
    assert sorted(found["id"].to_pylist()) == rows["id"].to_pylist()


# --- very wide, very long -----------------------------------------------------------------------


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_ten_thousand_columns_come_out_as_they_went_in(
    shell: Shell,
    format: str,  # noqa: A002
) -> None:
    wide = pa.table({f"column {number}": [number, None] for number in range(10_000)})
    source, out = shell.folder / "wide.parquet", shell.folder / "out"
    pq.write_table(wide, source)
    shell.write(source, out, format)

    done = shell("run", "job.py")

    assert done.returncode == 0, done.stderr
    assert ro.read(str(out)).to_table().equals(wide)


LONG = """
import pyarrow as pa
import pyarrow.compute as pc
import rayorch as ro

long = ro.Pipeline("long")
lines = long.read("lines", {source!r})

@long.map(lines, memory="256 MiB")
def lengths(batch: pa.Table) -> pa.Table:
    return pa.table({{"length": pc.binary_length(batch["text"])}})

lengths.write({target!r}, format="parquet")
"""


@pytest.mark.slow
def test_a_column_of_two_gigabytes_of_text_is_streamed(shell: Shell) -> None:
    """In one row group, where it cannot be read at once: neither Arrow's offsets nor memory do."""
    text_bytes, rows = 1 << 20, 2200
    source, out = shell.folder / "long.parquet", shell.folder / "out"
    column = pa.DictionaryArray.from_arrays(
        pa.array([number % 2 for number in range(rows)], pa.int32()),
        pa.array(["a" * text_bytes, "b" * text_bytes]),
    )
    pq.write_table(pa.table({"text": column}), source, store_schema=False)
    (shell.folder / "long.py").write_text(LONG.format(source=str(source), target=str(out)))

    done, memory_bytes = shell.measured("run", "long.py", "--slots", "1")

    assert done.returncode == 0, done.stderr
    assert memory_bytes < 900 << 20
    found = ro.read(str(out)).to_table()
    assert found["length"].to_pylist() == [text_bytes] * rows
