"""One Ray for all cluster tests, started as `rayorch up` starts it, and a home for each test.

A test arms failpoints before its actors start: every actor is a new process, which reads the file
that RAYORCH_FAILPOINTS names when it imports the library.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.clock import SystemClock
from rayorch.host import ray_cluster

# Ray reads its settings when it is imported, which the next lines do.
ray_cluster.set_environment()

from rayorch.host.control import control_name, runner_prefix  # noqa: E402
from tests.cluster.drill import Drill  # noqa: E402


@pytest.fixture(scope="session")
def failpoint_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("failpoints") / "armed"


@pytest.fixture(scope="session")
def warm_ray(
    tmp_path_factory: pytest.TempPathFactory, failpoint_file: Path
) -> Iterator[ray_cluster.WarmCluster]:
    """Start a Ray with two slots that no other Ray on this machine meets."""
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


def _short_folder() -> str:
    """Ray's socket paths must stay below 107 bytes, and pytest's own folders are deep."""
    folder = Path(tempfile.gettempdir()) / f"ro-test-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    return str(folder)


@pytest.fixture
def drill(
    warm_ray: ray_cluster.WarmCluster, failpoint_file: Path, tmp_path: Path
) -> Iterator[Drill]:
    """Give the test a home, an input of known content, and means to hurt."""
    failpoint_file.unlink(missing_ok=True)
    drill = Drill(tmp_path, warm_ray.address, failpoint_file)
    try:
        yield drill
    finally:
        failpoint_file.unlink(missing_ok=True)
        drill.resume_stopped()
        _end_actors(drill.home_url)


def _end_actors(home_url: str) -> None:
    """Kill what the test left, so that the next one finds both slots free."""
    ray = ray_cluster.import_ray()
    if not ray.is_initialized():
        return
    name, prefix = control_name(home_url), runner_prefix(home_url)
    for found in ray.util.list_named_actors():
        if found == name or found.startswith(prefix):
            ray.kill(ray.get_actor(found), no_restart=True)
