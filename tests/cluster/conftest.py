"""A home, an input and a pipeline for each cluster test, on the session's Ray (tests/warm_ray)."""

import contextlib
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
    with _drill_in(tmp_path, warm_ray, failpoint_file) as drill:
        yield drill


@pytest.fixture(scope="module")
def shared_drill(
    warm_ray: ray_cluster.WarmCluster,
    failpoint_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Drill]:
    """Give all tests of a file the same: runners, which are dear to start, stay for the next."""
    with _drill_in(tmp_path_factory.mktemp("shared"), warm_ray, failpoint_file) as drill:
        yield drill


@contextlib.contextmanager
def _drill_in(
    folder: Path, warm_ray: ray_cluster.WarmCluster, failpoint_file: Path
) -> Iterator[Drill]:
    failpoint_file.unlink(missing_ok=True)
    drill = Drill(folder, warm_ray.address, failpoint_file)
    try:
        yield drill
    finally:
        failpoint_file.unlink(missing_ok=True)
        drill.resume_stopped()
        end_actors(control_name(drill.home_url), runner_prefix(drill.home_url))
