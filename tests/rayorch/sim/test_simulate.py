"""The whole control plane on a virtual clock: one seed, one story, and what must hold in it."""

import re
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import pytest

from rayorch.capacity.placer import RealPlacer
from rayorch.core import settling, staging
from rayorch.core.facts import FACT_KINDS, AttemptProgressed
from rayorch.core.flow import Flow
from rayorch.core.node_facts import PoolIdled
from rayorch.core.run import Run
from rayorch.sim.config import CALM, MERGED, WORLDS, SimConfig, SimFaults, SimPool, sized
from rayorch.sim.simulate import Outcome, simulate

pytestmark = pytest.mark.sim

IMPATIENT: Final = SimConfig(runs=1, patience_s=20.0)
"""For what is not going to end well."""
KEPT: Final = [
    line
    for line in (Path(__file__).parent / "seeds.txt").read_text("utf-8").splitlines()
    if line[0].isdigit()
]
"""SEED WORLD what it was | the test that holds it"""
ROOT: Final = Path(__file__).parents[3]


def assert_good(outcome: Outcome) -> None:
    again = f"rayorch simulate --first {outcome.seed} --seeds 1"
    assert not outcome.violations, f"{outcome.violations}; again: {again}"
    assert outcome.finished, f"{outcome.left}; again: {again}"


FAULTS: Final = {each.name for each in fields(SimFaults)} - {
    "until_s",
    "every_s",
    "attempt_kinds",
    "link_apart_s",
}
"""What goes wrong, by its name; the others say how much, and for how long."""
UNSEEN: Final = {PoolIdled, AttemptProgressed}
"""Facts that a simulation does not have: one is made no more, on the other nothing rests."""


def test_all_that_can_go_wrong_and_all_that_can_happen_does() -> None:
    """A simulation that claims a fault, and never has it, finds nothing of it."""
    seen: Counter[str] = Counter()

    for seed in range(60):
        outcome = simulate(seed, placer=RealPlacer)
        assert_good(outcome)
        seen.update(outcome.seen)

    assert {fault for fault in FAULTS if not seen[fault]} == set()
    assert {kind for kind in FACT_KINDS if not seen[kind.__name__]} == UNSEEN


@pytest.mark.parametrize("first", range(60, 160, 10))
def test_every_row_is_there_once_whatever_dies(first: int) -> None:
    """Invariants after each event; in the end each task visible once, and the replay equal."""
    for seed in range(first, first + 10):
        assert_good(simulate(seed, placer=RealPlacer))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_row_is_there_once_where_the_real_solver_places(seed: int) -> None:
    """Also where it fails, where pools are gone, and where another control actor goes on."""
    placed: list[str] = []

    def hear(at_s: float, what: str) -> None:
        del at_s
        if "PlacementReady" in what and "method=''" not in what:
            placed.append(what)

    assert_good(simulate(seed, SimConfig(solved=1.0), tell=hear, placer=RealPlacer))

    assert len(placed) > 1


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_every_row_is_there_once_where_hot_keys_are_merged_first(first: int) -> None:
    """Whoever dies, and whatever file is lost: of those that write, that merge, that read."""
    for seed in range(first, first + 10):
        assert_good(simulate(seed, MERGED))


def test_a_merging_stage_that_goes_on_without_what_was_lost_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the last stage waits for a lost file to be written again."""

    def close(run: Run, flow: Flow, stage: int) -> None:
        if stage in run.stages[-1].after and 2 not in run.unplanned:
            run.unplanned.append(2)
        run.revisions[2] = run.revision_of(2) + 1
        flow.planning.discard(2)

    monkeypatch.setattr(staging, "_close", close)

    # In one of a few seeds: in the others no file is lost that the merging stage reads.
    outcomes = (simulate(seed, replace(MERGED, patience_s=60.0)) for seed in range(2, 12))
    assert any(outcome.violations or not outcome.finished for outcome in outcomes)


@pytest.mark.parametrize("line", KEPT, ids=lambda line: "-".join(line.split()[:2]))
def test_a_seed_that_found_a_bug_finds_it_no_more(line: str) -> None:
    seed, world, _ = line.split(maxsplit=2)
    assert_good(simulate(int(seed), WORLDS[world], placer=RealPlacer))


def test_each_bug_that_a_seed_found_is_in_the_changelog_and_held_by_a_test() -> None:
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))

    for line in KEPT:
        (seed, _, _), (_, test) = line.split(maxsplit=2), line.split(" | ")
        assert re.search(rf"\b[sS]eeds?\s[^.]*\b{seed}\b", changes), line
        assert f"def {test}(" in tests, line


def test_the_same_seed_gives_the_same_journal_to_the_byte() -> None:
    assert simulate(11) == simulate(11)
    assert simulate(11).journal != simulate(12).journal


def test_nothing_is_done_twice_when_nothing_goes_wrong() -> None:
    """Work done equals work committed, and the runs end when the work does."""
    pools = (SimPool(),)
    config = SimConfig(faults=CALM, pools=pools, runs=1, task_s=1.0, task_sigma=0.0, tasks_max=40)

    outcome = simulate(3, config)

    assert_good(outcome)
    assert outcome.work_s == outcome.committed
    ideal_s = outcome.work_s / config.pools[0].runners
    assert outcome.virtual_s < 1.1 * ideal_s + 10.0


def test_where_one_task_in_twenty_fails_little_is_done_twice() -> None:
    outcome = simulate(0, sized(50, 2_000))

    assert_good(outcome)
    assert outcome.seen["attempt_fails"] > 0.02 * outcome.committed
    assert 1.02 < outcome.work_s / outcome.useful_s < 1.06


def test_a_slow_machine_gets_less_of_the_work() -> None:
    pools = (SimPool(name="fast", runners=1), SimPool(name="slow", runners=1, speed=0.25))
    config = SimConfig(pools=pools, runs=1, faults=CALM, task_sigma=0.0, tasks_max=50)

    outcome = simulate(1, config)

    assert_good(outcome)
    # Both together do 1.25 tasks a second; with half of the work each, the slow one ends last.
    assert outcome.virtual_s < outcome.committed / 1.25 + 20.0


def test_a_store_that_is_nearly_always_unsure_loses_nothing() -> None:
    faults = SimFaults(store_unsure=0.6, every_s=6.0)
    for seed in range(5):
        assert_good(simulate(seed, SimConfig(faults=faults)))


def counts_alone(run: Run, *_about: object) -> None:
    """Count a task that was committed, and forget what it wrote."""
    run.committed += 1


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_publish", lambda run, flow, cause, at_s: ()),
        ("add_output", counts_alone),
    ],
)
def test_a_machine_that_forgets_is_found_out(
    name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that cannot fail checks nothing."""
    monkeypatch.setattr(settling, name, broken)

    outcome = simulate(2, IMPATIENT)

    assert outcome.violations or not outcome.finished
