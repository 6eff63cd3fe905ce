"""Kill anything at any moment of a run with an exchange in its middle: the data is the same.

Each test was seen to fail with the protection that it names taken out.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayorch as ro
from rayorch import client
from rayorch.core.facts import (
    AttemptFailed,
    AttemptFinished,
    AttemptLost,
    Led,
    RunCancelRequested,
    StagePlanned,
)
from rayorch.host import leader
from rayorch.observe.view import RunView
from tests.cluster.drill import FILES, ROWS, Drill, check_rows, kill_tree, start_cli
from tests.cluster.functions import Piled, doubled, kills_once, padded, passes_then_waits

PARTS = 6
FILE = """
from pathlib import Path

import rayorch as ro
from tests.cluster.functions import passes_then_waits

pipeline = ro.Pipeline("drill")
rows = pipeline.read("rows", "{rows}", split="file")
mixed = rows.repartition("mixed", by="id", parts={parts})
mapped = mixed.map(passes_then_waits(Path("{folder}"), {passes}), output="mapped")
mapped.write("{out}", format="parquet")
"""

Work = Callable[[pa.Table], pa.Table]


def exchanging(drill: Drill, work: Work = doubled) -> ro.Pipeline:
    """Return a pipeline whose rows are divided anew before the work is done on them."""
    pipeline = ro.Pipeline("drill", retry=ro.RetryPolicy(backoff_s=0.05))
    rows = pipeline.read("rows", str(drill.folder / "in" / "*.parquet"), split="file")
    mixed = rows.repartition("mixed", by="id", parts=PARTS)
    mixed.map(work, output="mapped").write((drill.folder / "out").as_uri(), format="parquet")
    return pipeline


def joining(drill: Drill, work: Work) -> ro.Pipeline:
    """Return a pipeline that joins rows of one key, more of them than a task takes."""
    one = drill.folder / "one"
    one.mkdir()
    pq.write_table(pa.table({"k": [0] * 40, "name": ["only"] * 40}).slice(39), one / "one.parquet")
    pipeline = ro.Pipeline("drill", retry=ro.RetryPolicy(backoff_s=0.05))
    rows = pipeline.read("rows", str(drill.folder / "in" / "*.parquet"), split="file")
    many = rows.map(padded, output="padded")
    right = pipeline.read("one", str(one / "*.parquet")).dedupe("right", by="k")
    joined = many.join("joined", right, on="k", how="left")
    joined.map(work, output="mapped").write((drill.folder / "out").as_uri(), format="parquet")
    return pipeline


def exchange_files(drill: Drill) -> list[str]:
    store = drill.at.home.store
    return [info.key for info in store.list("runs/") if "/exchange/" in info.key]


def check_all(drill: Drill, view: RunView) -> None:
    drill.check_output(view)
    assert not exchange_files(drill), "exchange files were left"


def commits(drill: Drill) -> Counter[int]:
    return Counter(e.fact.task for e in drill.events() if isinstance(e.fact, AttemptFinished))


@pytest.mark.slow
def test_an_exchange_writes_each_row_once_and_leaves_nothing(drill: Drill) -> None:
    control = drill.control()
    run = drill.submit(control, exchanging(drill))

    view = drill.follow(control, run)

    check_all(drill, view)
    assert commits(drill) == dict.fromkeys(range(FILES + PARTS), 1)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["runner.after_stage", "runner.after_report"])
def test_a_runner_may_die_with_its_exchange_file_written(drill: Drill, point: str) -> None:
    """Protection: a file counts when the journal names it, by the name of its attempt."""
    mark = drill.arm(point)
    control = drill.control()
    run = drill.submit(control, exchanging(drill))

    view = drill.follow(control, run)

    assert mark.exists(), "the failpoint was never reached"
    check_all(drill, view)


def test_a_runner_may_die_while_it_reads_what_others_wrote(drill: Drill) -> None:
    """Protection: files outlive who wrote them, until the stage that reads them is committed."""
    mark = drill.folder / "killed"
    control = drill.control()
    run = drill.submit(control, exchanging(drill, kills_once(mark)))

    view = drill.follow(control, run)

    assert mark.exists()
    check_all(drill, view)
    lost = [e.fact.task for e in drill.events() if isinstance(e.fact, AttemptLost)]
    assert len(lost) == 1
    assert lost[0] >= FILES, "no reading task was lost"
    done = commits(drill)
    assert all(done[task] == 1 for task in range(FILES)), "a writing task ran again"


def test_the_control_actor_may_die_between_a_division_and_its_record(drill: Drill) -> None:
    """Protection: who leads next asks again for the division of stages that have no tasks yet."""
    mark = drill.arm("host.after_plan_stage")
    control = drill.control()
    run = drill.submit(control, exchanging(drill))

    view = drill.follow(control, run)

    assert mark.exists(), "the failpoint was never reached"
    check_all(drill, view)
    assert len([e for e in drill.events() if isinstance(e.fact, Led)]) == 2
    planned = [e.fact for e in drill.events() if isinstance(e.fact, StagePlanned)]
    assert {fact.tasks for fact in planned} == {PARTS}


@pytest.mark.slow
def test_the_control_actor_may_die_while_the_pieces_of_a_hot_key_are_joined(drill: Drill) -> None:
    """Protection: the tasks of a stage are in the journal, and how it was cut is under the home."""
    control = drill.control()
    folder = drill.folder / "tickets"
    folder.mkdir()
    run = drill.submit(control, joining(drill, passes_then_waits(folder, 1)))
    begun = drill.wait_until(lambda: len(list(folder.iterdir())) == 1, "a piece was joined", 60.0)
    assert begun
    drill.wait_until(lambda: len(commits(drill)) > FILES + 2, "a piece is committed")

    os.kill(_pid_of_control(drill), signal.SIGKILL)
    (folder / "gate").touch()
    view = drill.follow(control, run)

    check_all(drill, view)
    assert len([e for e in drill.events() if isinstance(e.fact, Led)]) == 2
    planned = [e.fact for e in drill.events() if isinstance(e.fact, StagePlanned)]
    assert planned[-1].tasks > 1, "one task has all rows of the key"
    assert set(commits(drill).values()) == {1}


def piled(drill: Drill, work: Work) -> ro.Pipeline:
    """Return a pipeline whose states of one key are more than a task takes."""
    pipeline = ro.Pipeline("drill", retry=ro.RetryPolicy(backoff_s=0.05))
    rows = pipeline.read("rows", str(drill.folder / "in" / "*.parquet"), split="file")
    many = rows.map(padded, output="padded")
    done = many.aggregate("done", by="k", rows=(["id"], Piled(work)))
    done.write((drill.folder / "out").as_uri(), format="parquet")
    return pipeline


def check_piled(drill: Drill, view: RunView) -> None:
    """One key has all rows, several tasks merged its states first, and nothing is left."""
    assert view.state == "succeeded", view.error
    found = ro.read((drill.folder / "out").as_uri()).to_table()
    assert found.to_pylist() == [{"k": 0, "rows": FILES * ROWS}]
    assert not drill.orphans()
    assert not exchange_files(drill), "exchange files were left"
    planned = [e.fact for e in drill.events() if isinstance(e.fact, StagePlanned)]
    assert [fact.tasks > 1 for fact in planned if fact.stage == 1] == [True]
    assert set(commits(drill).values()) == {1}


@pytest.mark.slow
def test_the_control_actor_may_die_while_states_of_a_hot_key_are_merged(drill: Drill) -> None:
    """Protection: the merging tasks are in the journal, and what they take is under the home."""
    folder = drill.folder / "tickets"
    folder.mkdir()
    control = drill.control()
    run = drill.submit(control, piled(drill, passes_then_waits(folder, 1)))
    drill.wait_until(lambda: list(folder.iterdir()), "a state was merged", 60.0)

    os.kill(_pid_of_control(drill), signal.SIGKILL)
    (folder / "gate").touch()
    view = drill.follow(control, run)

    check_piled(drill, view)
    assert len([e for e in drill.events() if isinstance(e.fact, Led)]) == 2


@pytest.mark.slow
def test_a_runner_may_die_while_it_merges_states_that_others_read_too(drill: Drill) -> None:
    """Protection: what was merged counts when the journal names it; the states are still there."""
    mark = drill.folder / "killed"
    control = drill.control()
    run = drill.submit(control, piled(drill, kills_once(mark)))

    view = drill.follow(control, run)

    assert mark.exists()
    check_piled(drill, view)
    (lost,) = [e.fact.task for e in drill.events() if isinstance(e.fact, AttemptLost)]
    assert lost >= FILES, "no merging task was lost"


def _pid_of_control(drill: Drill) -> int:
    found = msgspec.json.decode(drill.at.home.store.get(leader.KEY))
    return int(found["pid"])


@pytest.mark.slow
@pytest.mark.parametrize("files_are_lost", [False, True], ids=["kept", "lost"])
def test_everything_may_die_while_a_stage_reads_its_exchange(
    drill: Drill, files_are_lost: bool
) -> None:
    """Protection: what is committed stays; files that are gone are made again, and only those.

    1. An embedded run commits all tasks that write the exchange, and two that read it.
    2. Driver, control actor, runners and Ray itself are killed.
    3. `rayorch resume` finishes; tasks whose files are there do not run again.
    """
    folder = drill.folder / "tickets"
    folder.mkdir()
    file = drill.folder / "pipeline.py"
    rows, out = str(drill.folder / "in" / "*.parquet"), (drill.folder / "out").as_uri()
    file.write_text(FILE.format(rows=rows, parts=PARTS, folder=folder, passes=2, out=out))
    alone = {
        "RAYORCH_HOME": drill.home_url,
        "RAY_ADDRESS": "",
        "PYTHONPATH": os.getcwd(),
        **drill.own_state(),
    }
    driver = start_cli(drill.folder, "run", str(file), **alone)
    drill.wait_until(lambda: len(commits(drill)) >= FILES + 2, "two tasks read it", wait_s=90.0)

    kill_tree(driver)
    before = commits(drill)
    if files_are_lost:
        drill.at.home.store.delete(exchange_files(drill))
    (folder / "gate").touch()
    again = start_cli(drill.folder, "resume", "last", "--json", **alone)
    _, err = again.communicate(timeout=120)

    assert again.returncode == 0, err
    check_rows(drill.folder / "out")
    assert not drill.orphans()
    assert not exchange_files(drill)
    after = commits(drill)
    assert all(after[task] == 1 + files_are_lost for task in range(FILES))
    assert all(after[task] == 1 for task in range(FILES, FILES + PARTS)), "a reader ran twice"
    assert set(before) <= set(after)
    failed = [e.fact.kind for e in drill.events() if isinstance(e.fact, AttemptFailed)]
    assert set(failed) == ({"upstream"} if files_are_lost else set())


@pytest.mark.slow
def test_a_run_that_is_cancelled_while_it_exchanges_leaves_nothing(drill: Drill) -> None:
    """Protection: the sweep at the end of a run takes its exchange files, too."""
    control = drill.control()
    folder = drill.folder / "tickets"
    folder.mkdir()
    run = drill.submit(control, exchanging(drill, passes_then_waits(folder, 1)))
    drill.wait_until(lambda: len(commits(drill)) > FILES, "a task read it")
    assert exchange_files(drill)

    control.submit([RunCancelRequested(run=run, reason="a test")])
    *_, view = client.follow(drill.at, control, run)

    assert view.state == "cancelled"
    drill.wait_until(lambda: not exchange_files(drill), "exchange files were swept")
    assert not list((drill.folder / "out").rglob("*.parquet"))
