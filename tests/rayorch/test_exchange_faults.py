"""Exchange files that are lost, damaged or written anew otherwise: what a run makes of it.

Each test was seen to fail with the protection that it names taken out.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from connectors.store import Store, open_store
from connectors.stores.memory import MemoryStore
from rayorch.api import Dataset
from rayorch.core.facts import AttemptFailed, AttemptFinished, StagePlanned
from rayorch.core.staging import REVIVALS_MAX
from rayorch.ids import new_nonce
from rayorch.sim.store import UnsureStore
from tests.rayorch.exchanges import (
    Division,
    Done,
    asked,
    exchange_keys,
    keyed_table,
    rows_of,
    run_divided,
)

DIVISION = Division(splits=4, slots=2, task_bytes=256, copies=0.0)
VICTIM = 2  # the map task whose file is hurt


def delete(store: Store, key: str) -> None:
    store.delete([key])


def truncate(store: Store, key: str) -> None:
    data = store.get(key)
    _overwrite(store, key, data[: len(data) // 2])


def flip(store: Store, key: str) -> None:
    """Change one bit of what is stored."""
    data = bytearray(store.get(key))
    data[100] ^= 4
    _overwrite(store, key, bytes(data))


def empty(store: Store, key: str) -> None:
    _overwrite(store, key, b"")


def _overwrite(store: Store, key: str, data: bytes) -> None:
    # Not through the store: a file that is mapped must not change under its reader.
    path = store.local_path(key)
    if path is None:
        store.put(key, data)
    else:
        os.unlink(path)
        Path(path).write_bytes(data)


HURTS = [delete, truncate, flip, empty]
Hurt = Callable[[Store, str], None]


@pytest.fixture(params=["memory", "file"])
def plain_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore(new_nonce())
    return open_store(f"file://{tmp_path}/home", {"durable": "true"})


def hurting(store: Store, hurt: Callable[[str], None]) -> UnsureStore:
    """Return the store, which calls `hurt` before a stage's input becomes known to its tasks."""

    def before_create(key: str) -> None:
        name = key.rpartition("/")[2]
        if name.startswith("stage-") and name.count("-") == 2:
            hurt(name.removesuffix(".msgpack").rpartition("-")[2])

    return UnsureStore(store, before_create)


def totals(t: Dataset) -> Mapping[str, Dataset]:
    return {"out": t.aggregate("totals", by="k0", n=("n", "sum"), rows=("*", "count"))}


def rows() -> pa.Table:
    return keyed_table(np.random.default_rng(1), "half", 2000)


def wanted(table: pa.Table) -> pa.Table:
    return asked("select k0, sum(n)::bigint, count(*) from t group by 1", t=table)


def file_of(store: Store, task: int) -> str:
    (key,) = (key for key in exchange_keys(store) if f"/{task:07d}-" in key)
    return key


def commits(done: Done) -> Counter[int]:
    """Return how often each task was reported finished."""
    return Counter(e.fact.task for e in done.events if isinstance(e.fact, AttemptFinished))


def failures(done: Done) -> Counter[str]:
    return Counter(e.fact.kind for e in done.events if isinstance(e.fact, AttemptFailed))


@pytest.mark.parametrize("hurt", HURTS, ids=lambda hurt: hurt.__name__)
def test_a_lost_file_costs_the_task_that_wrote_it_and_nothing_else(
    plain_store: Store, hurt: Hurt
) -> None:
    """Protection: checksums; the reader names the file; its writer's commit is taken back.

    1. The file of one map task is hurt when the reduce tasks have been planned.
    2. Whoever reads it says so; that map task alone runs again.
    3. The stage is planned again, as it was divided; the rest of its tasks run.
    """
    table = rows()

    def once(revision: str) -> None:
        if revision == "1":
            hurt(plain_store, file_of(plain_store, VICTIM))

    done = run_divided(totals, {"t": table}, DIVISION, store=hurting(plain_store, once))

    assert done.view.state == "succeeded", done.view.error
    assert rows_of(done.outputs["out"]) == rows_of(wanted(table))
    assert commits(done).pop(VICTIM) == 2
    assert set(commits(done).values()) - {2} == {1}, "another task ran again"
    assert failures(done)["upstream"] >= 1
    assert set(failures(done)) == {"upstream"}
    planned = [e.fact for e in done.events if isinstance(e.fact, StagePlanned)]
    assert len({fact.tasks for fact in planned}) == 1, "the stage was divided otherwise"
    assert not done.left


def test_a_file_that_is_lost_again_and_again_fails_the_run(plain_store: Store) -> None:
    """Protection: a limit on how often one commit is taken back."""
    done = run_divided(
        totals,
        {"t": rows()},
        DIVISION,
        store=hurting(plain_store, lambda _: delete(plain_store, file_of(plain_store, VICTIM))),
    )

    assert done.view.state == "failed"
    assert done.view.error is not None
    assert f"the exchange files of task {VICTIM} of stage 't' were lost" in done.view.error.message
    assert "rayorch doctor" in done.view.error.remedy
    assert commits(done)[VICTIM] == REVIVALS_MAX + 1
    assert set(failures(done)) == {"upstream"}


def fickle(
    change: Callable[[pa.Table, int], pa.Table], folder: Path
) -> Callable[[pa.Table], pa.Table]:
    """Return a function that makes something else of the same rows when it is called again."""

    def made(table: pa.Table) -> pa.Table:
        mark = folder / f"{table['id'][0]}"
        call = int(mark.exists())
        mark.touch()
        return change(table, call)

    return made


def fewer(table: pa.Table, call: int) -> pa.Table:
    return table.slice(call)


def other_keys(table: pa.Table, call: int) -> pa.Table:
    return table.set_column(0, "k0", pc.add(table["k0"], call))


def run_fickle(
    change: Callable[[pa.Table, int], pa.Table], operate: Callable[[Dataset], Dataset], folder: Path
) -> Done:
    store = MemoryStore(new_nonce())

    def once(revision: str) -> None:
        if revision == "1":
            delete(store, file_of(store, VICTIM))

    def build(t: Dataset) -> Mapping[str, Dataset]:
        return {"out": operate(t.map(fickle(change, folder), output="fickle"))}

    return run_divided(build, {"t": rows()}, DIVISION, store=hurting(store, once))


OPERATE: dict[str, Callable[[Dataset], Dataset]] = {
    "aggregate": lambda t: t.aggregate("totals", by="k0", n=("n", "sum")),
    "dedupe": lambda t: t.dedupe("one", by=["k0", "id"]),
    "sort": lambda t: t.sort("sorted", by="k0"),
    "repartition": lambda t: t.repartition("even", parts=3),
}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("aggregate", other_keys),
        ("dedupe", fewer),
        ("dedupe", other_keys),
        ("sort", fewer),
        ("sort", other_keys),
        ("repartition", fewer),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_other_rows_on_the_second_try_are_refused(
    change: Callable[[pa.Table, int], pa.Table], kind: str, tmp_path: Path
) -> None:
    """Protection: what a file held is compared with what its successor holds.

    Tasks that read the first may be committed: with the second, the others would leave rows out
    or count them twice.
    """
    done = run_fickle(change, OPERATE[kind], tmp_path)

    assert done.view.state == "failed"
    assert done.view.error is not None
    assert done.view.error.error_type == "ExchangeChangedError"
    assert done.view.error.kind == "refused"
    assert f"task {VICTIM} made" in done.view.error.message


def test_what_was_left_of_a_task_is_read_where_the_bytes_are_now(tmp_path: Path) -> None:
    """Protection: a piece of a task says what it takes, and its lease where that is by now.

    1. The first task that reads is cut after its first piece; what it left becomes tasks.
    2. A file that all of them read is lost, and written again under another name.
    """
    table, store = rows(), MemoryStore(new_nonce())
    mark = tmp_path / "lost"

    def lose(rows: pa.Table) -> pa.Table:
        if not mark.exists():
            mark.touch()
            delete(store, file_of(store, VICTIM))
        return rows

    def build(t: Dataset) -> Mapping[str, Dataset]:
        return {"out": OPERATE["dedupe"](t).map(lose, output="mapped")}

    cut = Division(splits=4, slots=1, task_bytes=8_000, heavy_rows=4, is_cut=True)
    done = run_divided(build, {"t": table}, cut, store=store)

    assert done.view.state == "succeeded", done.view.error
    assert rows_of(done.outputs["out"]) == rows_of(table)
    assert commits(done)[VICTIM] == 2
    assert done.view.totals.cuts
    assert set(failures(done)) == {"upstream"}
    assert not done.left
