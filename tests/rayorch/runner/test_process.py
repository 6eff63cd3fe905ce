"""A process that is a runner keeps Arrow to its slot and hears what is printed in it."""

import os
import subprocess
import sys
from pathlib import Path

import rayorch

PROGRAM = """
import os
import sys
import pyarrow as pa
from rayorch.runner.capture import Tee
from rayorch.runner.process import tune_process
tune_process(1.5)
print(pa.cpu_count(), isinstance(sys.stdout, Tee), os.environ['POLARS_MAX_THREADS'])
"""


def test_a_runners_process_is_tuned() -> None:
    """In a process of its own: the settings hold for the whole of one."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={name: text for name, text in os.environ.items() if not name.startswith("POLARS_")},
        cwd=Path(rayorch.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["1", "True", "1"]
