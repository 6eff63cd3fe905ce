"""A side of a comparison in a process of its own, and the few words that are exchanged with it.

    we  -> start with a job           side -> connects, warms up, says "ready"
    we  -> "go", the clocks run       side -> does the job, says "done" with what it has to tell

What a side prints besides goes to a file, the end of which is quoted when it fails.
"""

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import msgspec

from benchmarks.jobs import Job
from benchmarks.processes import CpuSampler, MemorySampler, memory_bytes

READY_S_MAX: Final = 120.0
END_S_MAX: Final = 20.0
QUOTED_CHARACTERS: Final = 600

Told = dict[str, float | str]


class SideFailedError(Exception):
    """A side raised, ended, or took longer than it may."""


class SideTooSlowError(SideFailedError):
    """A side took longer than it may; how long it would take is not known, but that is known."""

    def __init__(self, word: str, limit_s: float) -> None:
        super().__init__(word, limit_s)
        self.word = word
        self.limit_s = limit_s

    def __str__(self) -> str:
        return f"not {self.word} after {self.limit_s:.0f} s"


class Word(msgspec.Struct, frozen=True):
    """One line from a side."""

    word: str
    told: Told = {}


class Measured(msgspec.Struct, frozen=True):
    """What one run of one side took."""

    wall_s: float
    cpu_s: float
    told: Told = {}
    peak_bytes: int = 0


class Driver:
    """A running side, as the parent sees it."""

    def __init__(self, side: str, job: Job, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        read_end, write_end = os.pipe()
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.sides.{side}", str(write_end)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                env={**os.environ, **environment},
            )
        os.close(write_end)
        self._words: IO[bytes] = os.fdopen(read_end, "rb", buffering=0)
        self._say(msgspec.json.encode(job))

    @property
    def pid(self) -> int:
        """The side's process."""
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self._heard("ready", READY_S_MAX)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def timed(self, roots: tuple[int, ...], limit_s: float) -> Measured:
        """Let it do its job, watching the CPU of these families and its own.

        Raises: SideFailedError.
        """
        with CpuSampler((self.pid, *roots)) as sampler:
            began_s = time.perf_counter()
            self._say(b"go")
            told = self._heard("done", limit_s).told
            wall_s = time.perf_counter() - began_s
        return Measured(wall_s, sampler.cpu_s, told)

    def weighed(
        self,
        roots: tuple[int, ...],
        limit_s: float,
        measure: Callable[[Iterable[int]], int] = memory_bytes,
    ) -> Measured:
        """Let it do its job, watching memory instead. Raises: SideFailedError."""
        began_s = time.perf_counter()
        with MemorySampler((self.pid, *roots), measure) as sampler:
            self._say(b"go")
            told = self._heard("done", limit_s).told
        wall_s = time.perf_counter() - began_s
        return Measured(wall_s, 0.0, told, sampler.peak_bytes)

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _heard(self, word: str, limit_s: float) -> Word:
        readable, _, _ = select.select([self._words], [], [], limit_s)
        if not readable:
            raise SideTooSlowError(word, limit_s)
        line = self._words.readline()
        if not line:
            self._process.wait()
            tail = self._log.read_text(errors="replace").strip()[-QUOTED_CHARACTERS:]
            raise SideFailedError(f"ended with code {self._process.returncode}: {tail}")
        heard = msgspec.json.decode(line, type=Word)
        assert heard.word == word, heard
        return heard

    def _end(self) -> None:
        """A side ends when nobody speaks to it any more; one that does not is killed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()


def serve(prepare: Callable[[Job], Callable[[], Told]]) -> None:
    """Be a side: `prepare` connects and warms up, and returns what does the job."""
    words = os.fdopen(int(sys.argv[1]), "wb", buffering=0)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    work = prepare(job)
    words.write(msgspec.json.encode(Word("ready")) + b"\n")
    if not sys.stdin.buffer.readline():
        return
    told = work()
    words.write(msgspec.json.encode(Word("done", told)) + b"\n")
    # Until the parent has taken its last look at us.
    sys.stdin.buffer.readline()
