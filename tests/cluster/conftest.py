"""A home, an input and a pipeline for each cluster test, on the session's Ray (tests/warm_ray)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rayorch.host import ray_cluster
from rayorch.host.control import control_name, runner_prefix
from tests.cluster.drill import Drill
from tests.warm_ray import end_actors


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
        end_actors(control_name(drill.home_url), runner_prefix(drill.home_url))
