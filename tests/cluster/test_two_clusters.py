"""A second cluster takes a home over while the first one lives and is at work on it."""

import os
from pathlib import Path

import pytest

from rayorch.core.facts import AttemptFinished, Led
from rayorch.host import ray_cluster
from tests.cluster.drill import FILES, check_rows, kill_tree
from tests.cluster.heads import Place, cluster_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]
BEFORE = 5
"""Tasks that pass before the gate is opened."""


def test_a_home_is_taken_over_by_another_cluster_and_the_first_one_is_fenced(
    tmp_path: Path,
) -> None:
    """Protection: the journal's fence; neither cluster can reach, or end, the other.

    1. A run of the first cluster waits in some tasks. On the second it is resumed: refused.
    2. Told to take the home over, the second leads, and runs the tasks that are not committed,
       while runners of the first still work on them.
    3. The first hands in what it has, and is refused. Who follows it there is told why.
    """
    ray_cluster.set_environment()
    place = Place(tmp_path, BEFORE)
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with (
        cluster_of(folders[0], os.environ) as (first, _),
        cluster_of(folders[1], os.environ) as (second, _),
    ):
        run = place.cli("run", str(place.file), "--json", RAY_ADDRESS=first.address)
        resumed = None
        try:
            place.wait_for(AttemptFinished, BEFORE)
            refused = place.cli("resume", "last", "--json", RAY_ADDRESS=second.address)
            _, said = refused.communicate(timeout=120)
            resumed = place.cli(
                "resume", "last", "--takeover", "--json", RAY_ADDRESS=second.address
            )
            place.wait_for(Led, 2)
            place.gate.touch()
            _, err = resumed.communicate(timeout=150)
            _, fenced = run.communicate(timeout=150)
        finally:
            for process in filter(None, (run, resumed)):
                kill_tree(process)

    assert refused.returncode == 2, said
    assert "--takeover" in said
    assert resumed.returncode == 0, err
    assert run.returncode == 1, fenced
    assert "another control actor has taken over this home" in fenced
    check_rows(tmp_path / "out")
    assert place.finished() == list(range(FILES)), "a committed task was computed again"
