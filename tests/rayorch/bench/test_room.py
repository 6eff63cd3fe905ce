from pathlib import Path

import pytest

from rayorch.bench.errors import SuiteError
from rayorch.bench.room import check_room


def test_a_disk_without_room_is_refused_with_the_numbers_and_what_helps(tmp_path: Path) -> None:
    """Of a folder that is not there yet, too."""
    said = (
        r"there is no room for the runs: about 888 PiB will be written, and .* are free\. "
        r"folder=.*/a/b\n  ask for less"
    )

    with pytest.raises(SuiteError, match=said):
        check_room(tmp_path / "a" / "b", 10**18, "the runs", "ask for less")

    check_room(tmp_path, 1.0, "the runs", "ask for less")
