"""One Ray for all tests of a session that need one, started as `rayorch up` starts it.

A test arms failpoints before its actors start: every actor is a new process, which reads the file
that RAYORCH_FAILPOINTS names when it imports the library. Ray itself is imported by who uses it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.clock import SystemClock
from rayorch.host import ray_cluster


@pytest.fixture(scope="session")
def failpoint_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints") / "armed"


@pytest.fixture(scope="session")
def warm_ray(
    tmp_path_factory: pytest.TempPathFactory, failpoint_file: Path
) -> Iterator[ray_cluster.WarmCluster]:
    """Start a Ray with two slots that no other Ray on this machine meets."""
    # Ray reads its settings when it is imported.
    ray_cluster.set_environment()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("RAYORCH_FAILPOINTS", f"@{failpoint_file}")
        patch.setattr(ray_cluster, "temp_dir", _short_folder)
        warm = ray_cluster.start_warm(2, SystemClock())
        patch.setenv("RAY_ADDRESS", warm.address)
        try:
            yield warm
        finally:
            ray = ray_cluster.import_ray()
            ray.shutdown()
            ray_cluster.stop_warm()


def end_actors(*prefixes: str) -> None:
    """Kill what a test left, so that the next one finds both slots free."""
    ray = ray_cluster.import_ray()
    if not ray.is_initialized():
        return
    for found in ray.util.list_named_actors():
        if found.startswith(prefixes):
            # One that ends meanwhile has no name any more.
            with contextlib.suppress(ValueError):
                ray.kill(ray.get_actor(found), no_restart=True)


def _short_folder() -> str:
    """Ray's socket paths must stay below 107 bytes, and pytest's own folders are deep."""
    folder = Path(tempfile.gettempdir()) / f"ro-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return str(folder)
