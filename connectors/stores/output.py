"""What the writers of all stores have in common: nothing is visible before close."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Output(ABC):
    """A stream that publishes its object at close; pyarrow's writers take it as a file.

    Not an io.IOBase: its finaliser would call close, and so publish a stream that was dropped
    in the middle.
    """

    __slots__ = ("_forgotten", "_written_bytes", "closed")

    def __init__(self) -> None:
        self._written_bytes = 0
        self.closed = False
        self._forgotten = False

    def write(self, data: "Buffer", /) -> int:
        """Add bytes; return how many."""
        if self._forgotten:
            # The finaliser of a Parquet writer ends its file, whatever became of the stream.
            return memoryview(data).nbytes
        if self.closed:
            raise ValueError("write to a closed stream")
        size_bytes = self._write(data)
        self._written_bytes += size_bytes
        return size_bytes

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written_bytes

    def flush(self) -> None:  # noqa: B027 - pyarrow calls it, and no store has anything to do
        """Do nothing: a reader sees the object only when it is closed."""

    def readable(self) -> bool:
        """Say no."""
        return False

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say no."""
        return False

    def close(self) -> None:
        """Make the object visible."""
        if not self.closed:
            self.closed = True
            self._publish()

    def abort(self) -> None:
        """Forget what was written, and whatever still comes."""
        if not self.closed:
            self.closed = True
            self._forgotten = True
            self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    @abstractmethod
    def _write(self, data: "Buffer") -> int:
        """Take bytes; return how many."""

    @abstractmethod
    def _publish(self) -> None:
        """Make the object visible, or raise and leave nothing of it."""

    @abstractmethod
    def _forget(self) -> None:
        """Leave nothing."""
