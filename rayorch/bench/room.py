"""Room on a disk, looked at before anything is written."""

import shutil
from pathlib import Path

from rayorch.bench.errors import SuiteError
from rayorch.observe.figures import bytes_text


def check_room(folder: Path, wanted_bytes: float, what: str, fix: str) -> None:
    """Refuse to begin where the disk would fill; the folder need not be there yet.

    Raises: SuiteError.
    """
    there = folder
    while not there.exists():
        there = there.parent
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < wanted_bytes:
        problem = (
            f"there is no room for {what}: about {bytes_text(wanted_bytes)} will be written, and "
            f"{bytes_text(free_bytes)} are free. folder={folder}"
        )
        raise SuiteError(problem, fix)
