"""Reduce tasks are of equal size whatever the keys, and a plan says why it is what it is."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from connectors.store import open_store
from rayorch.exchange import (
    ExchangeIndex,
    ExchangePart,
    ExchangePlan,
    PlanLimits,
    dump_part,
    plan_exchange,
    plan_merges,
)
from rayorch.exchange.packing import groups_of, neighbour_ranges, poured
from rayorch.relational import (
    AggregateCode,
    AsofCode,
    DedupeCode,
    GroupMapCode,
    JoinCode,
    OperatorCode,
    RepartitionCode,
    SortCode,
    SortKey,
    WindowCode,
)
from tests.rayorch.exchange.rows import read_back, written

ROWS = 400_000
ASOF = AsofCode(left_on="v", right_on="v", left_by=("k",), right_by=("k",))
JOIN = JoinCode(how="inner", left_on=("k",), right_on=("k",))
AGGREGATE = AggregateCode(by=("k",), measures=())
SORT = SortCode(keys=(SortKey(column="k"),))
UNCUT: list[OperatorCode] = [
    DedupeCode(by=("k",)),
    WindowCode(by=("k",), order=(), columns=()),
    GroupMapCode(by=("k",), function=len),
    JoinCode(how="full", left_on=("k",), right_on=("k",)),
    RepartitionCode(by=("k",)),
]


def _keys(skew: str, rows: int, source: np.random.Generator) -> NDArray[np.int64]:
    uniform = source.integers(0, 1_000_000, rows)
    if skew == "half":
        return np.where(source.random(rows) < 0.5, 7, uniform)
    weights = 1 / np.arange(1, 1_000_001) ** float(skew)
    ends = np.cumsum(weights) / weights.sum()
    return np.minimum(np.searchsorted(ends, source.random(rows)), 999_999)


def _sides(code: OperatorCode, skew: str) -> list[list[pa.Table]]:
    source = np.random.default_rng(11)
    per_part = ROWS // 8
    facts = [
        pa.table({"k": _keys(skew, per_part, source), "v": source.random(per_part)})
        for _ in range(8)
    ]
    states = [pa.table({"k": np.arange(part, 1_000_000, 20)}) for part in range(4)]
    return [facts, states] if isinstance(code, JoinCode | AsofCode) else [facts]


@pytest.mark.parametrize("skew", ["1.2", "1.5", "2.0", "half"])
@pytest.mark.parametrize("code", [JOIN, ASOF, AGGREGATE, SORT], ids=lambda code: code.kind)
def test_the_slowest_task_is_near_the_mean(code: OperatorCode, skew: str, tmp_path: Path) -> None:
    """Measured by what tasks really read, not by what the plan expects."""
    store = open_store(str(tmp_path))
    parts = written(store, code, _sides(code, skew), buckets=1024, memory_bytes=64 << 20)
    limits = PlanLimits(slots=2, target_bytes=sum(p.raw_bytes for s in parts for p in s) // 8)
    plans = [plan_exchange(code, parts, limits)]
    if isinstance(code, AggregateCode):
        first = plan_merges(code, parts[0], limits)
        plans = [first, plan_exchange(code, parts, limits, first.merged)]
    index = ExchangeIndex(parts)

    read = []
    for plan in plans:
        rows = []
        for split in plan.splits:
            found = [read_back(store, index, split, side) for side in range(len(parts))]
            rows.append([0 if table is None else table.num_rows for table in found])
            assert sum(rows[-1]) == pytest.approx(sum(split.rows), rel=0.02, abs=2000)
        totals = [16 * row[0] + 8 * sum(row[1:]) for row in rows]
        assert max(totals, default=0) * len(totals) <= 1.2 * sum(totals), totals
        assert plan.slowest_over_mean < 1.2
        read += rows
    assert sum(row[0] for row in read) == ROWS


@pytest.mark.parametrize("code", UNCUT, ids=lambda code: code.kind)
def test_a_key_that_cannot_be_cut_is_said_to_be_the_reason(
    code: OperatorCode, tmp_path: Path
) -> None:
    store = open_store(str(tmp_path))
    parts = written(store, code, _sides(code, "half"), buckets=256, memory_bytes=64 << 20)
    limits = PlanLimits(slots=2, target_bytes=sum(p.raw_bytes for s in parts for p in s) // 8)

    plan = plan_exchange(code, parts, limits)

    (reason,) = [reason for reason in plan.reasons if reason.decision == "key 7 not cut"]
    assert reason.numbers["over_mean"] > 1
    assert plan.hot_keys == ()
    others = sorted(sum(split.raw_bytes) for split in plan.splits)[:-1]
    assert others[-1] <= 1.2 * sum(others) / len(others)


def test_a_plan_is_the_same_in_every_process(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    parts = written(store, JOIN, _sides(JOIN, "1.2"), buckets=256, memory_bytes=64 << 20)
    (tmp_path / "parts").write_bytes(msgspec.msgpack.encode(parts))
    code = (
        "import msgspec, sys, hashlib\n"
        "from tests.rayorch.exchange.test_planner import JOIN\n"
        "from rayorch.exchange import ExchangePart, PlanLimits, plan_exchange\n"
        "parts = msgspec.msgpack.decode(open(sys.argv[1], 'rb').read(),"
        " type=list[list[ExchangePart]])\n"
        "plan = plan_exchange(JOIN, parts, PlanLimits(slots=3, target_bytes=1 << 20))\n"
        "print(hashlib.sha256(msgspec.msgpack.encode(plan)).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "parts")],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(found) == 1


def test_the_number_of_tasks_follows_size_slots_memory_and_requests(tmp_path: Path) -> None:
    parts = written(open_store(str(tmp_path)), AGGREGATE, _sides(AGGREGATE, "1.2"), buckets=256)

    def tasks(code: OperatorCode = AGGREGATE, **limits: int) -> tuple[int, str]:
        plan: ExchangePlan = plan_exchange(code, parts, replace(PlanLimits(slots=2), **limits))
        return len(plan.splits), str(plan.reasons[0])

    assert tasks()[0] == 1  # six megabytes
    assert tasks(target_bytes=1 << 20)[0] == 8
    assert tasks(memory_bytes=4 << 20)[0] == 8
    assert tasks(target_bytes=1 << 20, slots=3)[0] == 9
    capped = plan_exchange(
        AGGREGATE,
        [[_large(part) for part in parts[0]]],
        PlanLimits(slots=100, target_bytes=1 << 30, requests_max=80, memory_bytes=8 << 30),
    )
    assert len(capped.splits) == 10
    assert "too many ranges" in str(capped.reasons[0])
    spread = written(open_store(str(tmp_path)), RepartitionCode(), _sides(SORT, "1.2"))
    assert len(plan_exchange(RepartitionCode(parts=7), spread, PlanLimits(slots=2)).splits) == 7
    by_size = plan_exchange(RepartitionCode(size_bytes=2 << 20), spread, PlanLimits(slots=2))
    assert len(by_size.splits) == 3


def _large(part: ExchangePart) -> ExchangePart:
    return msgspec.structs.replace(part, raw_bytes=1 << 30)


def test_a_part_stays_small(tmp_path: Path) -> None:
    """It goes through the control actor: 16 kB, and six bytes a bucket."""
    for code, skew in ((JOIN, "1.2"), (SORT, "half"), (RepartitionCode(), "half")):
        sides = [[pa.concat_tables(tables)] for tables in _sides(code, skew)]
        parts = written(open_store(str(tmp_path)), code, sides, buckets=1024, memory_bytes=1 << 30)
        assert all(len(dump_part(part)) < 16_384 + 6 * 1024 for side in parts for part in side)
    texts = pa.table({"k": [f"{n:0700d}" for n in range(20_000)]})
    for order in (SORT, DedupeCode(by=("k",))):
        ((part,),) = written(open_store(str(tmp_path)), order, [[texts]], memory_bytes=1 << 30)
        assert len(dump_part(part)) < 16_384


@pytest.mark.parametrize("seed", range(40))
def test_packing_covers_each_item_once(seed: int) -> None:
    source = np.random.default_rng(seed)
    items, tasks = int(source.integers(1, 300)), int(source.integers(1, 40))
    sizes = np.floor(source.pareto(1.2, items) * 1000)

    groups = groups_of(sizes, tasks)
    neighbours = neighbour_ranges(sizes, tasks)

    covered = sorted(item for group in groups for low, high in group for item in range(low, high))
    assert covered == list(range(items))
    assert 1 <= len(groups) <= tasks
    assert [low for low, _ in neighbours] == [0, *(high for _, high in neighbours[:-1])]
    most = max(sum(sizes[low:high].sum() for low, high in group) for group in groups)
    assert most <= sizes.sum() / tasks + sizes.max() + 1


@pytest.mark.parametrize("seed", range(40))
def test_pouring_takes_each_key_whole_and_evens_the_tasks(seed: int) -> None:
    source = np.random.default_rng(seed)
    tasks, keys = int(source.integers(1, 40)), int(source.integers(1, 20))
    loads = source.random(tasks) * 100
    hot = source.random(keys) * 400 + 100 * tasks / keys
    extra = source.random(keys)

    pours = poured(loads.tolist(), hot.tolist(), extra.tolist())

    held = loads.copy()
    for key in range(keys):
        pieces = [pour for pour in pours if pour.item == key]
        assert [p.low for p in pieces] == [0.0, *(p.high for p in pieces[:-1])]
        assert pieces[-1].high == 1.0
        for piece in pieces:
            held[piece.task] += (piece.high - piece.low) * hot[key] + extra[key]
    assert held.max() <= 1.2 * held.mean()
