"""What a user's function prints, kept per attempt.

One tee stands in for `sys.stdout` and `sys.stderr`. It looks at the writing thread: while that
thread computes an attempt, whole lines become `LogLine`s; every other thread writes through. What
threads of the user's own print is not ours to attribute and is written through as well.
"""

import io
import sys
import threading
from collections.abc import Callable
from typing import Final, Literal, TextIO, cast

import msgspec

from rayorch.clock import Clock
from rayorch.ids import RunId, TaskId

CAPTURE_BYTES_MAX: Final = 64 * 1024
"""Of one attempt. A function that prints each row must not fill the home or the memory."""
CUT_MARKER: Final = f"... output cut here: the attempt printed more than {CAPTURE_BYTES_MAX} bytes"
_NEWLINE_BYTES: Final = 1

Stream = Literal["stdout", "stderr"]


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One line that the code of one attempt printed."""

    run: RunId
    stage: int
    task: TaskId
    attempt: int
    stream: Stream
    text: str
    at_s: float


class AttemptCapture:
    """The lines of one attempt, in the order of printing, up to a limit.

    Used by the one thread that computes the attempt; `say` must be safe to call from it.
    """

    __slots__ = ("_attempt", "_clock", "_left_bytes", "_partial", "_run", "_say", "_stage", "_task")

    def __init__(
        self, key: tuple[RunId, int, TaskId, int], clock: Clock, say: Callable[[LogLine], None]
    ) -> None:
        self._run, self._stage, self._task, self._attempt = key
        self._clock = clock
        self._say = say
        self._left_bytes = CAPTURE_BYTES_MAX
        self._partial: dict[Stream, str] = {}

    def write(self, stream: Stream, text: str) -> None:
        """Take printed text; each line that is whole by now goes out."""
        *lines, partial = (self._partial.get(stream, "") + text).split("\n")
        # A program that never ends its line is cut like one that prints too many.
        self._partial[stream] = partial[: self._left_bytes]
        for line in lines:
            self._line(stream, line)

    def close(self) -> None:
        """Send the lines that were begun and not ended."""
        for stream, text in self._partial.items():
            if text:
                self._line(stream, text)
        self._partial.clear()

    def _line(self, stream: Stream, text: str) -> None:
        if self._left_bytes <= 0:
            return
        # Names of files that are not UTF-8 come as surrogates, which no log could hold.
        data = text.encode(errors="backslashreplace")
        text = data.decode()
        self._left_bytes -= len(data) + _NEWLINE_BYTES
        if self._left_bytes <= 0:
            self._left_bytes = 0
            text = CUT_MARKER
        self._say(
            LogLine(
                self._run,
                self._stage,
                self._task,
                self._attempt,
                stream,
                text,
                self._clock.now_s(),
            )
        )


class _Current(threading.local):
    """Which attempt this thread computes."""

    capture: AttemptCapture | None = None


_current: Final = _Current()


class Tee(io.TextIOBase):
    """Stands in for one standard stream of the process; the stream itself stays behind it."""

    def __init__(self, behind: TextIO, stream: Stream, *, echo: bool) -> None:
        super().__init__()
        self.behind = behind
        self._stream = stream
        self._echo = echo

    def write(self, text: str, /) -> int:
        """Give text to the attempt that this thread computes, else to the stream behind."""
        capture = _current.capture
        if capture is not None:
            capture.write(self._stream, text)
        if capture is None or self._echo:
            self.behind.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind."""
        if not self.behind.closed:
            self.behind.flush()

    def isatty(self) -> bool:
        """Say what the stream behind says."""
        return self.behind.isatty()

    def fileno(self) -> int:
        """Give the descriptor of the stream behind: what a child process inherits."""
        return self.behind.fileno()

    def writable(self) -> bool:
        """Say yes."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream behind."""
        return self.behind.encoding


_install_lock: Final = threading.Lock()


def install_tee(*, echo: bool) -> None:
    """Stand in for both standard streams. Again and again does no harm.

    With `echo`, captured lines are written to the stream behind as well.
    """
    with _install_lock:
        if not isinstance(sys.stdout, Tee):
            sys.stdout = cast("TextIO", Tee(sys.stdout, "stdout", echo=echo))
        if not isinstance(sys.stderr, Tee):
            sys.stderr = cast("TextIO", Tee(sys.stderr, "stderr", echo=echo))


def remove_tee() -> None:
    """Put the streams back, where the tee still stands."""
    with _install_lock:
        if isinstance(sys.stdout, Tee):
            sys.stdout = sys.stdout.behind
        if isinstance(sys.stderr, Tee):
            sys.stderr = sys.stderr.behind


class TeeLoan:
    """The tee, with echo, for as long as somebody in this process needs it.

    For a process that is the user's own: what stood there before comes back with the last `end`.
    """

    _count = 0
    _ours = False

    def __init__(self) -> None:
        self._open = True
        with _install_lock:
            TeeLoan._ours = TeeLoan._ours or not isinstance(sys.stdout, Tee)
            TeeLoan._count += 1
        install_tee(echo=True)

    def end(self) -> None:
        """Need it no more. Again and again does no harm."""
        with _install_lock:
            if not self._open:
                return
            self._open = False
            TeeLoan._count -= 1
            is_last = TeeLoan._count == 0 and TeeLoan._ours
            if is_last:
                TeeLoan._ours = False
        if is_last:
            remove_tee()


def begin_capture(capture: AttemptCapture) -> None:
    """From now on, what this thread prints belongs to the attempt."""
    _current.capture = capture


def end_capture() -> None:
    """From now on, what this thread prints is its own."""
    capture = _current.capture
    _current.capture = None
    if capture is not None:
        capture.close()
