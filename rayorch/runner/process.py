"""A process that is a runner and nothing else."""

import os
from typing import Final

import pyarrow as pa

from rayorch.runner.capture import install_tee

IO_THREADS: Final = 4  # pyarrow's own readers of object stores fetch with these


def tune_process(cores: float) -> None:
    """Keep the libraries to the cores of the runner's slot, and keep what the user's code prints.

    Not for a process that is the user's own: all of it holds for the whole process.
    """
    threads = max(1, int(cores))
    pa.set_cpu_count(threads)
    # Read by Polars when it is imported, which only the user's code does.
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    pa.set_io_thread_count(IO_THREADS)
    install_tee(echo=False)
