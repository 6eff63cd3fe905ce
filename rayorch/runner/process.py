"""A process that is a runner and nothing else."""

import pyarrow as pa

from rayorch.runner.capture import install_tee

IO_THREADS = 4  # pyarrow's own readers of object stores fetch with these


def tune_process(cores: float) -> None:
    """Keep Arrow to the cores of the runner's slot, and keep what the user's code prints.

    Not for a process that is the user's own: both hold for the whole of it.
    """
    pa.set_cpu_count(max(1, int(cores)))
    pa.set_io_thread_count(IO_THREADS)
    install_tee(echo=False)
