"""What of a task's input an attempt reads: all of it, or a piece that was cut out of it."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from rayorch.errors import InvariantError
from rayorch.ids import TaskId

WHOLE: Final = 3**9
"""Rows of each task. It is cut in three, and each of these again, and so on."""


class Piece(NamedTuple):
    """Rows of a task that was planned, whoever reads them: the rest of one has tasks of its own."""

    task: TaskId
    begin: int
    end: int

    def cut(self) -> tuple["Piece", ...]:
        """Return three parts of it, or nothing when it is a single row."""
        third = (self.end - self.begin) // 3
        begins = range(self.begin, self.end, third) if third else ()
        return tuple(Piece(self.task, begin, begin + third) for begin in begins)

    def encode(self) -> bytes:
        """Return it as a runner reports it."""
        return f"{self.task}:{self.begin}-{self.end}".encode()


def piece_of(task: TaskId, split: bytes) -> Piece:
    """Return what a task reads; an empty split is all of it."""
    if not split:
        return Piece(task, 0, WHOLE)
    of, _, rows = split.decode().partition(":")
    begin, _, end = rows.partition("-")
    return Piece(TaskId(int(of)), int(begin), int(end))


def check_cover(pieces: Iterable[Piece], where: str) -> None:
    """Raises: InvariantError, unless each row of each task is in one of the pieces."""
    ends: dict[TaskId, int] = {}
    for piece in sorted(pieces):
        if ends.get(piece.task, 0) != piece.begin:
            raise InvariantError("each row is read once", f"{where}: {piece}")
        ends[piece.task] = piece.end
    short = {task: end for task, end in ends.items() if end != WHOLE}
    if short:
        raise InvariantError("each row is read", f"{where}: {short}")
