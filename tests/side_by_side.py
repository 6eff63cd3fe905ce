"""Run those tests that start servers and clusters, which mostly wait, beside the others.

    python tests/side_by_side.py            everything but what is slow
    python tests/side_by_side.py ARGUMENTS  the same with these arguments, in one process

Each prints its own report, one after the other; the exit code is that of one that failed.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from typing import Final

PYTEST: Final = [sys.executable, "-m", "pytest", "--durations=12", "--durations-min=3"]
EVERYTHING: Final = "not slow and not chaos"
# The tests of a file stay together: they share what is dear to make.
SPREAD: Final = ["-n", "2", "--dist", "loadfile"]
# What waits for servers and clusters most of the time goes first; the others take what is left.
PARTS: Final = {
    "cluster": PYTEST,
    "e2e and not cluster": PYTEST,
    "not cluster and not e2e": ["nice", "-n", "10", *PYTEST, *SPREAD],
}


def main(arguments: list[str]) -> int:
    """Run the tests and return what the command ends with."""
    with tempfile.TemporaryDirectory() as compiled:
        environment = _compiling_once(compiled)
        if arguments:
            return subprocess.call([*PYTEST, "-m", EVERYTHING, *arguments], env=environment)
        return _side_by_side(environment)


def _compiling_once(folder: str) -> dict[str, str]:
    """Return an environment whose programs compile what they import once, for all of them.

    Where bytecode must not be written beside the sources, each of hundreds of commands, servers and
    workers would compile all that it imports again: two to three seconds each.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _side_by_side(environment: dict[str, str]) -> int:
    """Run all parts at once, and print the report of one after that of the other."""
    with contextlib.ExitStack() as files:
        running = []
        for marks, command in PARTS.items():
            report = files.enter_context(tempfile.TemporaryFile())
            words = [*command, "-m", f"({EVERYTHING}) and ({marks})"]
            running.append(
                (subprocess.Popen(words, stdout=report, stderr=report, env=environment), report)
            )
        failed = 0
        for part, report in running:
            failed = part.wait() or failed
            report.seek(0)
            sys.stdout.buffer.write(report.read())
            sys.stdout.flush()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
