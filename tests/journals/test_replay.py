"""The journals of all versions that were kept are read as they were meant."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors.store import open_store
from rayorch.clock import SystemClock
from rayorch.core.facts import FACT_KINDS, VOLATILE
from rayorch.core.run import RunState
from rayorch.fsck.examine import examine
from rayorch.home import Home
from rayorch.ids import new_nonce
from rayorch.journal.log import LOG, SNAP, Journal
from rayorch.version import our_version
from tests.journals.keep import EXPECTED, KEPT, folded, kinds_of, state_of

VERSIONS = sorted(path.name for path in KEPT.iterdir() if (path / EXPECTED).exists())
HOMES = [version for version in VERSIONS if not version.endswith("-facts")]
"""Of real runs; the others are of simulated ones, which write no files."""


def kept(version: str) -> dict[str, Any]:
    data = (KEPT / version / EXPECTED).read_bytes()
    return msgspec.json.decode(data, type=dict[str, Any])


def known(state: Any, expected: Any) -> Any:
    """The part of a state that a version knew of: what was added since has its default.

    What is zero may be left out.
    """
    if isinstance(expected, dict) and isinstance(state, dict):
        return {key: known(state.get(key, type(said)()), said) for key, said in expected.items()}
    return state


def test_our_version_is_kept() -> None:
    assert {our_version(), f"{our_version()}-facts"} <= set(VERSIONS), (
        "python -m tests.journals.keep"
    )


def test_every_durable_fact_is_in_a_journal_that_is_kept() -> None:
    """Else nothing tells that a later version reads it as it was meant."""
    kinds = {kind for version in VERSIONS for kind in kinds_of(open_store(str(KEPT / version)))}

    assert {kind for kind in FACT_KINDS if kind not in VOLATILE} <= kinds


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("from_snapshot", [True, False])
def test_a_journal_of_an_earlier_version_folds_to_the_state_that_it_had(
    version: str, from_snapshot: bool
) -> None:
    expected = kept(version)

    state = state_of(folded(open_store(str(KEPT / version)), from_snapshot=from_snapshot))

    assert {run: known(state[run], expected[run]) for run in expected} == expected
    assert state.keys() == expected.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_home_of_an_earlier_version_is_led_and_written_on(version: str, tmp_path: Path) -> None:
    """This version's snapshot of it says the same."""
    shutil.copytree(KEPT / version / "journal", tmp_path / "journal")
    store = open_store(str(tmp_path))
    machine = folded(store, from_snapshot=True)
    journal = Journal(store, SystemClock(), new_nonce)
    journal.replay(lambda _event: None, lambda _state: None)

    journal.lead(lambda _event: None)
    journal.write_snapshot(machine.snapshot())

    assert state_of(folded(store, from_snapshot=True)) == state_of(machine)


@pytest.mark.parametrize("version", HOMES)
def test_nothing_is_damaged_in_a_home_of_an_earlier_version_that_is_led(
    version: str, tmp_path: Path
) -> None:
    shutil.copytree(KEPT / version / "journal", tmp_path / "journal")
    store = open_store(str(tmp_path))
    journal = Journal(store, SystemClock(), new_nonce)
    journal.replay(lambda _event: None, lambda _state: None)

    journal.lead(lambda _event: None)

    looked = examine(Home(store), SystemClock())
    assert looked.journal.damages == []


@pytest.mark.parametrize("version", HOMES)
def test_what_is_kept_of_a_version_has_had_what_can_happen(version: str) -> None:
    store = open_store(str(KEPT / version))
    runs = folded(store, from_snapshot=True).runs.values()

    states = {run.state for run in runs}
    assert states >= {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
    assert any(run.placement is not None for run in runs)
    assert any(stage.after for run in runs for stage in run.stages)
    assert any(run.totals.failures for run in runs)
    first = next(iter(store.list(SNAP)))
    assert any(info.key > f"{LOG}{first.key.removeprefix(SNAP)}" for info in store.list(LOG))
