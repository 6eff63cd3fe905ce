"""A second cluster takes a home over from one that is at work on it; here both are processes.

It was seen to fail with the fence taken out of the journal.
"""

from pathlib import Path

from rayorch.clock import SystemClock
from rayorch.core.facts import AttemptFinished, Led
from rayorch.home import open_home
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from tests.cluster.drill import FILES, PIPELINE, check_rows, start_cli, write_input

clock = SystemClock()


def test_a_home_is_taken_over_when_asked_for_and_who_led_it_is_fenced(tmp_path: Path) -> None:
    """Protection: the hint of who leads keeps a newcomer out; told to, it fences the journal.

    1. A run waits in some tasks; another process resumes it, and is refused with what to do.
    2. Told to take the home over it leads, and finishes the run, while the first still works.
    3. The first hands in what it has: refused. It says who leads, and nothing is there twice.
    """
    write_input(tmp_path / "in")
    gate, file, home = tmp_path / "gate", tmp_path / "pipeline.py", (tmp_path / "home").as_uri()
    rows, out = str(tmp_path / "in" / "*.parquet"), (tmp_path / "out").as_uri()
    file.write_text(PIPELINE.format(rows=rows, out=out, gate=gate, passes=5))
    alone = {"RAYORCH_HOME": home, "RAYORCH_EXECUTOR": "in-process"}

    def facts() -> list[object]:
        found: list[object] = []
        store = open_home(home).store
        Journal(store, clock, new_nonce).replay(lambda event: found.append(event.fact))
        return found

    def wait_for(kind: type[object], count: int) -> None:
        begun_s = clock.monotonic_s()
        while sum(isinstance(fact, kind) for fact in facts()) < count:
            assert clock.monotonic_s() - begun_s < 90.0, f"never: {count} of {kind}"
            clock.sleep(0.1)

    first = start_cli(tmp_path, "run", str(file), "--json", **alone)
    wait_for(AttemptFinished, 5)
    refused = start_cli(tmp_path, "resume", "last", "--json", **alone)
    _, said = refused.communicate(timeout=90)
    second = start_cli(tmp_path, "resume", "last", "--takeover", "--json", **alone)
    wait_for(Led, 2)
    gate.touch()
    _, err = second.communicate(timeout=90)
    _, fenced = first.communicate(timeout=90)

    assert refused.returncode == 2
    assert "--takeover" in said
    assert second.returncode == 0, err
    assert first.returncode == 1
    assert "another control actor has taken over this home" in fenced
    check_rows(tmp_path / "out")
    finished = [fact.task for fact in facts() if isinstance(fact, AttemptFinished)]
    assert sorted(finished) == list(range(FILES)), "a committed task was computed again"
