"""A local Ray that is kept warm: how it begins, and what is said when it does not."""

import sys
from pathlib import Path

import pytest

from rayorch.errors import ClusterError
from rayorch.host import ray_cluster
from tests.rayorch.cli.conftest import PatientClock


def test_a_ray_that_ends_at_once_is_told_of_where_nothing_was_started_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a cluster named, nothing else makes the folder that its output goes to."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
    ends = [sys.executable, "-c", "print('no memory for an object store')"]
    monkeypatch.setattr(ray_cluster, "head_command", lambda *_: ends)

    with pytest.raises(ClusterError, match="no memory for an object store"):
        ray_cluster.start_warm(1, PatientClock())
