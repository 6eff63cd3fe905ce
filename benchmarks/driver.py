"""A side of a comparison in a process of its own, and the few words that are exchanged with it.

    we  -> start with a job           side -> connects, warms up, says "ready"
    we  -> "go", the clocks run       side -> does the job, says "done" with what it has to tell

What a side prints besides goes to a file, the end of which is quoted when it fails.
"""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, ClassVar, Final, Self

import msgspec

from benchmarks.jobs import Job
from benchmarks.processes import CpuSampler, MemorySampler, memory_bytes
from rayorch.bench.results import Measured, Told, Why

READY_S_MAX: Final = 120.0
END_S_MAX: Final = 20.0
LOOKED_AT_CHARACTERS: Final = 4_000
QUOTED_CHARACTERS: Final = 600
DONE: Final = "done"
COUNTED: Final = "counted"

OUT_OF_MEMORY: Final = re.compile(
    r"MemoryError|OutOfMemory|[Oo]ut of [Mm]emory|bad_alloc|KilledWorker|\bOOM|\boom(?:\b|_)",
    re.ASCII,
)
"""`KilledWorker` is Dask's: its nannies end a worker that needs too much, until one task has ended
several."""


class SideFailedError(Exception):
    """A side raised, ended, or wrote what is wrong."""

    kind: ClassVar[Why] = "failed"


class SideTooSlowError(SideFailedError):
    """A side took longer than it may; how long it would take is not known, but that is known."""

    kind = "slow"

    def __init__(self, limit_s: float) -> None:
        super().__init__(limit_s)
        self.limit_s = limit_s

    def __str__(self) -> str:
        return f"not done after {self.limit_s:.0f} s"


class SideOutOfMemoryError(SideFailedError):
    """A side needed more memory than there is: the system ended it, or it says so itself."""

    kind = "memory"


class Word(msgspec.Struct, frozen=True):
    """One line from a side."""

    word: str
    told: Told = {}


class Driver:
    """A running side, as the parent sees it."""

    def __init__(self, side: str, job: Job, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._begun_s = time.perf_counter()
        self._startup_s = 0.0
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
        self._job = job

    @property
    def pid(self) -> int:
        """The side's process."""
        return self._process.pid

    def __enter__(self) -> Self:
        try:
            self._say(msgspec.json.encode(self._job))
            self._heard("ready", READY_S_MAX)
            self._startup_s = time.perf_counter() - self._begun_s
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
            word = self._heard(DONE, limit_s)
            wall_s = time.perf_counter() - began_s
        return self._measured(word, wall_s, cpu_s=sampler.cpu_s)

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
            word = self._heard(DONE, limit_s)
        wall_s = time.perf_counter() - began_s
        return self._measured(word, wall_s, peak_bytes=sampler.peak_bytes)

    def _measured(
        self, word: Word, wall_s: float, *, cpu_s: float = 0.0, peak_bytes: int = 0
    ) -> Measured:
        return Measured(wall_s, cpu_s, word.told, peak_bytes, self._startup_s)

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _heard(self, word: str, limit_s: float) -> Word:
        readable, _, _ = select.select([self._words], [], [], limit_s)
        if not readable:
            # One that is not even ready did not take long for its job: it did not begin.
            if word == "ready":
                raise SideFailedError(f"not ready after {limit_s:.0f} s")
            raise SideTooSlowError(limit_s)
        line = self._words.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        heard = msgspec.json.decode(line, type=Word)
        assert heard.word == word, heard
        return heard

    def _ended(self) -> SideFailedError:
        """Return why a side that does not answer any more has ended."""
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            return SideFailedError("it does not listen any more, and goes on")
        return ended_error(self._process.returncode, self._log.read_text(errors="replace"))

    def _end(self) -> None:
        """A side ends when nobody speaks to it any more; one that does not is killed."""
        assert self._process.stdin is not None
        # What could not be said to one that has ended is still to be written when this is closed.
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._words.close()


def ended_error(code: int, log: str) -> SideFailedError:
    """Return why a process ended before it was done, by its exit code and the end of its log."""
    end = log.strip()[-LOOKED_AT_CHARACTERS:]
    tail = end[-QUOTED_CHARACTERS:]
    text = f"ended with code {code}: {tail}"
    if code == -signal.SIGKILL:
        return SideOutOfMemoryError(f"killed, as the system does when memory runs out: {tail}")
    return SideOutOfMemoryError(text) if OUT_OF_MEMORY.search(end) else SideFailedError(text)


def after_warming(job: Job, work: Callable[[Job], int | None]) -> Callable[[], Told]:
    """Do something small of the same kind; return what does the job, and tells what it counted."""
    work(job.small())

    def told() -> Told:
        counted = work(job)
        return {} if counted is None else {COUNTED: counted}

    return told


def serve(prepare: Callable[[Job], Callable[[], Told]]) -> None:
    """Be a side: `prepare` connects and warms up, and returns what does the job."""
    words = os.fdopen(int(sys.argv[1]), "wb", buffering=0)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    work = prepare(job)
    words.write(msgspec.json.encode(Word("ready")) + b"\n")
    if not sys.stdin.buffer.readline():
        return
    words.write(msgspec.json.encode(Word(DONE, work())) + b"\n")
    # Until the parent has taken its last look at us.
    sys.stdin.buffer.readline()
