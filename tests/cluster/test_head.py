"""The head of a cluster dies and comes back with what it kept: nobody has to do anything."""

import json
import logging
import os
from pathlib import Path

import pytest

from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished, Led
from rayorch.host import ray_cluster
from tests.cluster.drill import FILES, check_rows, kill_tree
from tests.cluster.heads import Place, cluster_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]
clock = SystemClock()
_log = logging.getLogger(__name__)
BEFORE = 5
"""Tasks that pass before the gate is opened."""


def test_a_run_goes_on_by_itself_when_its_head_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Protection: the head keeps in files who is there, and machines wait for it.

    1. A run waits in some tasks; the head dies with all on it, the control actor among it.
    2. It is started again, at its port: it finds the machine and its runners as they were, and
       starts the control actor, which leads on from the journal.
    3. The run ends, and nobody has told anybody to resume it.
    """
    ray_cluster.set_environment()
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "600")
    kept = {
        **os.environ,
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(tmp_path / "kept"),
    }
    place = Place(tmp_path, BEFORE)
    with cluster_of(tmp_path, kept) as (head, machine):
        up = place.cli("up", "--address", head.address)
        _, err = up.communicate(timeout=120)
        assert up.returncode == 0, err
        submitted = place.cli("submit", str(place.file), "--json")
        try:
            place.wait_for(AttemptFinished, BEFORE)
            there = {process.pid for process in machine.family()}

            head.kill()
            begun_s = clock.monotonic_s()
            head.start()
            place.wait_for(Led, 2)
            _log.info("leads %.1f s after the head was started", clock.monotonic_s() - begun_s)
            place.gate.touch()
            said, err = submitted.communicate(timeout=120)
        finally:
            kill_tree(submitted)
        left = there & {process.pid for process in machine.family()}

    assert submitted.returncode == 0, err
    assert json.loads(said)["state"] == "succeeded"
    check_rows(tmp_path / "out")
    assert place.finished() == list(range(FILES)), "a committed task was computed again"
    assert left == there, "processes of the machine have been replaced"
