"""Run those tests that start servers and clusters, which mostly wait, beside the others.

    python tests/side_by_side.py            everything but what is slow
    python tests/side_by_side.py ARGUMENTS  the same with these arguments, in one process

Each prints its own report, one after the other; the exit code is that of one that failed.
"""

import subprocess
import sys
import tempfile
from typing import Final

PYTEST: Final = [sys.executable, "-m", "pytest"]
WAITING: Final = "cluster or e2e"
EVERYTHING: Final = "not slow and not chaos"
# The tests of a file stay together: they share what is dear to make.
SPREAD: Final = ["-n", "2", "--dist", "loadfile"]


def main(arguments: list[str]) -> int:
    """Run the tests and return what the command ends with."""
    if arguments:
        return subprocess.call([*PYTEST, "-m", EVERYTHING, *arguments])
    with tempfile.TemporaryFile() as report:
        others = subprocess.Popen(
            [*PYTEST, *SPREAD, "-m", f"({EVERYTHING}) and not ({WAITING})"],
            stdout=report,
            stderr=report,
        )
        waited = subprocess.call([*PYTEST, "-m", f"({EVERYTHING}) and ({WAITING})"])
        worked = others.wait()
        report.seek(0)
        sys.stdout.buffer.write(report.read())
        sys.stdout.flush()
    return waited or worked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
