"""The solver as the host sees it: a process for each question, and an answer or a readable error.

Whatever happens to that process, a crash of its C++ code included, is an error here and no more.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from placement import PlacementError, check_layout, tables_of
from rayorch.errors import SolverProcessError
from rayorch.plan.question import Answer, Question, decode_answer, encode_question

SOLVER_S_MAX: Final = 30.0
"""A question takes two or three seconds; far more only where the machine has no time for it."""
# -P: a file of the user's in the working directory must not pass for one of our modules.
COMMAND: Final = (sys.executable, "-P", "-m", "rayorch.plan.solver")
ROOT: Final = str(Path(__file__).resolve().parents[2])
DETAIL_CHARS_MAX: Final = 500


class SolverProcess:
    """Asks questions of processes, one for each, and ends those that take too long."""

    def __init__(
        self, command: Sequence[str] | None = None, time_limit_s: float = SOLVER_S_MAX
    ) -> None:
        self._command = command or COMMAND
        self._time_limit_s = time_limit_s
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, question: Question, patience_s: float = SOLVER_S_MAX) -> Answer:
        """Return the answer, which is one to this question. Any thread.

        Raises: SolverProcessError, after `patience_s` at the latest.
        """
        limit_s = min(self._time_limit_s, patience_s)
        process = self._started()
        try:
            said, complaint = process.communicate(encode_question(question), timeout=limit_s)
        except subprocess.TimeoutExpired:
            limit = f"time_limit_s={limit_s:g}"
            raise SolverProcessError("the solver took too long and was ended", limit) from None
        finally:
            self._ended(process)
        if process.returncode != 0:
            raise SolverProcessError(_death(process.returncode), _last_line(complaint))
        return _checked(said, question)

    def close(self) -> None:
        """End what runs; who waits for it is told. Nothing is started any more."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        paths = [ROOT, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        with self._lock:
            if self._closed:
                raise SolverProcessError("the control host is stopping", "")
            try:
                process = subprocess.Popen(  # noqa: S603 - our own module, and no shell.
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=environment,
                )
            except OSError as error:
                raise SolverProcessError("the solver cannot be started", str(error)) from error
            self._running.add(process)
        return process

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)
        if process.poll() is None:
            process.kill()
        process.communicate()


def _checked(said: bytes, question: Question) -> Answer:
    """Return what a process said, if it is an answer to the question."""
    try:
        answer = decode_answer(said)
        check_layout(question.problem, tables_of(question.problem), answer.layout)
    except (msgspec.DecodeError, PlacementError, IndexError) as error:
        detail = f"bytes={len(said)}, reason={error}"
        raise SolverProcessError("the solver said what is no plan", detail) from error
    return answer


def _death(status: int) -> str:
    if status > 0:
        return f"the solver ended with exit status {status}"
    try:
        return f"the solver was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"the solver was killed by signal {-status}"


def _last_line(complaint: bytes) -> str:
    lines = complaint.decode(errors="replace").strip().splitlines()
    return lines[-1][:DETAIL_CHARS_MAX] if lines else ""
