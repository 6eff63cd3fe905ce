"""`rayorch simulate`: what it found, and the command that shows it again."""

import re

import pytest

from rayorch.core import settling
from rayorch.core.machine import Machine
from rayorch.errors import InvariantError
from rayorch.sim.oracle import Oracle
from tests.rayorch.cli.conftest import Shell

pytestmark = pytest.mark.sim


def test_a_clean_campaign_says_so_for_safety_and_for_liveness(shell: Shell) -> None:
    said = shell("simulate", "--seeds", "2", "--first", "5", "--jobs", "1")

    assert said.code == 0
    assert "every invariant kept" in said.out
    assert "every run ended" in said.out
    assert re.search(r"work done +1\.\d\d\d x what was of use", said.out)


def test_a_broken_invariant_is_told_with_its_story_and_how_to_see_it_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: Oracle, machine: Machine) -> None:
        del self, machine
        raise InvariantError("each task is visible once", "none")

    monkeypatch.setattr(Oracle, "check_end", wrong)

    said = shell("simulate", "--seeds", "1", "--first", "5")

    assert said.code == 1
    assert "1 seed: invariant broken" in said.out
    assert "again     rayorch simulate --first 5 --seeds 1\n" in said.out
    assert "each task is visible once" in said.out
    assert "SinkPublished" in said.out


def test_a_run_that_never_ends_is_told_apart_from_a_broken_invariant(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "_publish", lambda run, flow, cause, at_s: ())

    said = shell("simulate", "--seeds", "1", "--json")

    assert said.code == 1
    assert said.document["unsafe"] == []
    assert "is publishing" in said.document["stuck"][0]["left"]


def test_a_cluster_of_a_size_is_simulated_and_told_in_the_command(shell: Shell) -> None:
    said = shell("simulate", "--seeds", "1", "--nodes", "20", "--tasks", "300", "--json")

    assert said.code == 0
    # A task that is far behind is cut: its rest is tasks, too.
    assert said.document["committed"] >= 300
    assert said.document["work_times"] == pytest.approx(
        said.document["work_s"] / said.document["useful_s"]
    )
    assert said.document["seen"]["attempt_fails"] > 0
