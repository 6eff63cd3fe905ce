"""Start a program that ends when whoever started it does: `python -m rayorch.host.fate PID ...`.

A process that is killed outright cleans nothing up; the kernel does, by the signal that is set
here. Only Linux has it: elsewhere what is started may outlive a parent that is killed.
"""

import ctypes
import os
import signal
import sys
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1


def main() -> None:
    """Become the program that the arguments name, bound to the parent that they name."""
    parent, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        # It may have ended before the signal was set.
        if os.getppid() != int(parent):
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - a path that our own parent named.


if __name__ == "__main__":
    main()
