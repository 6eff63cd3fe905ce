"""Pipelines with exchanges run on tables, however divided, and the same asked of DuckDB."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import rayorch as ro
from connectors.formats.tables import forget_table, register_table
from connectors.store import Store
from rayorch import client
from rayorch.api import Dataset
from rayorch.client import Connection, LocalControl
from rayorch.clock import SystemClock
from rayorch.core.facts import Event
from rayorch.exchange import hash_plan, layout, pieces, sizing
from rayorch.home import Home, open_home
from rayorch.ids import new_nonce
from rayorch.journal.log import Journal
from rayorch.observe.view import RunView
from rayorch.plan import waiting
from rayorch.runner.desk import Desk, Ticket
from rayorch.settings import Settings

Build = Callable[..., Mapping[str, Dataset]]
"""From a handle of each table to what is written, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How the rows and the work of a run are divided. No result may depend on it."""

    splits: int = 1  # of each table
    slots: int = 1
    task_bytes: int = sizing.TASK_BYTES_MIN  # the least that a reduce task is made for
    heavy_rows: int = layout.HEAVY_ROWS_MIN
    heavy_bytes: int = layout.HEAVY_BYTES_MIN
    copies: float = sizing.REPLICATED_SHARE_MAX  # so much may be sent twice, to broadcast a side
    direct: float = 0.0  # the same, to read the other side's files where they are joined
    is_cut: bool = False  # each task ends after the first piece of what it reads


WHOLE = Division()
DIVISIONS = (
    WHOLE,
    Division(splits=3, slots=2),
    Division(splits=4, slots=3, task_bytes=256, heavy_rows=4, copies=0.0),
    Division(splits=2, slots=4, task_bytes=64, heavy_rows=2, copies=99.0),
    Division(splits=4, slots=3, task_bytes=64, direct=99.0),
    Division(splits=3, slots=2, task_bytes=16_000, heavy_rows=4, copies=0.0, is_cut=True),
    Division(splits=2, slots=2, task_bytes=16_000, heavy_rows=2, copies=99.0, is_cut=True),
)


@dataclass(frozen=True, slots=True)
class Done:
    """How a run went, and what it wrote."""

    view: RunView
    outputs: dict[str, pa.Table]
    events: list[Event]
    left: list[str]  # exchange files


def run_divided(
    build: Build,
    tables: Mapping[str, pa.Table],
    division: Division = WHOLE,
    *,
    store: Store | None = None,
    **options: Any,
) -> Done:
    """Run a pipeline over the tables in this process, divided as said."""
    with tempfile.TemporaryDirectory() as folder, divided(division), registered(tables) as urls:
        home = Home(store) if store is not None else open_home(f"file://{folder}/home")
        clock = SystemClock()
        at = Connection(home, clock, Settings(home=home.url, executor="in-process"))
        pipeline = ro.Pipeline("exchanges", **options)
        cut = {"splits": division.splits}
        reads = {name: pipeline.read(name, url, options=cut) for name, url in urls.items()}
        written = build(**reads)
        for name, dataset in written.items():
            dataset.write(f"{folder}/out/{name}", format="parquet", name=f"w-{name}")
        with closing(LocalControl(home, clock, division.slots)) as control:
            run = client.submit_run(at, control, pipeline)
            *_, view = client.follow(at, control, run)
        outputs = {}
        if view.state == "succeeded":
            outputs = {name: ro.read(f"{folder}/out/{name}").to_table() for name in written}
        return Done(view, outputs, events_of(home), exchange_keys(home.store))


def events_of(home: Home) -> list[Event]:
    """Return what the journal holds."""
    events: list[Event] = []
    Journal(home.store, SystemClock(), new_nonce).replay(events.append)
    return events


def exchange_keys(store: Store) -> list[str]:
    """Return the exchange files of all runs."""
    return [info.key for info in store.list("runs/") if "/exchange/" in info.key]


def outputs_of(
    build: Build, tables: Mapping[str, pa.Table], division: Division = WHOLE
) -> dict[str, pa.Table]:
    """Return what a run writes that must succeed and leave no exchange file."""
    done = run_divided(build, tables, division)
    assert done.view.state == "succeeded", done.view.error
    assert not done.left, "exchange files outlived their stage"
    return done.outputs


@contextmanager
def divided(division: Division) -> Iterator[None]:
    """Let the planner make tasks of little data, as it else does of much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sizing, "TASK_BYTES_MIN", division.task_bytes)
        patch.setattr(sizing, "REPLICATED_SHARE_MAX", division.copies)
        patch.setattr(waiting, "LARGE_BYTES_MIN", 0)
        patch.setattr(waiting, "COPIES_MAX", division.direct)
        patch.setattr(layout, "HEAVY_ROWS_MIN", division.heavy_rows)
        patch.setattr(layout, "HEAVY_BYTES_MIN", division.heavy_bytes)
        patch.setattr(hash_plan, "HOT_SHARE", 0.1)
        if division.is_cut:
            patch.setattr(pieces, "PIECE_BYTES_MIN", division.task_bytes // 4)
            patch.setattr(pieces, "COPIES_MAX", 99.0)
            patch.setattr(Desk, "take", _taken_to_be_cut)
        yield


_TAKE = Desk.take


def _taken_to_be_cut(desk: Desk) -> Ticket | None:
    """As if the scheduler had asked at once for the task to be cut."""
    ticket = _TAKE(desk)
    if ticket is not None:
        ticket.cut = True
    return ticket


@contextmanager
def registered(tables: Mapping[str, pa.Table]) -> Iterator[dict[str, str]]:
    """Make the tables readable; yield their URLs."""
    nonce = new_nonce()
    try:
        yield {name: register_table(f"{nonce}/{name}", table) for name, table in tables.items()}
    finally:
        for name in tables:
            forget_table(f"{nonce}/{name}")


# --- rows -----------------------------------------------------------------------------------------

SKEWS = ("even", "zipf", "half", "one", "distinct", "nulls", "empty")


def numbers_of(random: np.random.Generator, skew: str, rows: int) -> np.ndarray:
    """Return the number of each row's key."""
    match skew:
        case "zipf":
            return np.minimum(random.zipf(1.4, rows), 50)
        case "half":
            return np.where(random.random(rows) < 0.5, 7, random.integers(0, 40, rows))
        case "one" | "nulls":
            return np.full(rows, 3)
        case "distinct":
            return random.permutation(rows)
        case _:
            return random.integers(0, 12, rows)


def _dated(number: int) -> datetime:
    return datetime(2024, 3, 1, number % 24, 30, tzinfo=UTC)


_FLOATS = (0.0, -0.0, float("nan"), 1.5, -2.25, float("inf"), 1e300, 7.0)
_TEXTS = ("", "a", "a ", "ä", "b" * 40, "A", "\u0000", "zz")
KEYS: dict[str, tuple[pa.DataType, Callable[[int], Any]]] = {
    "int": (pa.int64(), int),
    "small": (pa.int16(), int),
    "float": (pa.float64(), lambda n: _FLOATS[n] if n < len(_FLOATS) else float(n)),
    "text": (pa.string(), lambda n: _TEXTS[n] if n < len(_TEXTS) else f"t{n}"),
    "word": (pa.dictionary(pa.int32(), pa.string()), lambda n: f"w{n}" if n else ""),
    "money": (pa.decimal128(12, 2), lambda n: Decimal(n - 5) / 4),
    "zoned": (pa.timestamp("us", "Europe/Berlin"), _dated),
    "day": (pa.date32(), lambda n: date.fromordinal(738000 + n)),
    "flag": (pa.bool_(), lambda n: n % 2 == 0),
    "bytes": (pa.binary(), lambda n: bytes([n % 256, 0])),
}


def keyed_table(
    random: np.random.Generator, skew: str, rows: int, kinds: Sequence[str] = ("int",)
) -> pa.Table:
    """Return rows with keys k0, k1, ... of the kinds and values of many types; `id` is unique."""
    rows = 0 if skew == "empty" else rows
    columns: dict[str, pa.Array] = {}
    for at, kind in enumerate(kinds):
        type_, value = KEYS[kind]
        absent = random.random(rows) < (1.0 if skew == "nulls" and at == 0 else 0.1)
        numbers = numbers_of(random, skew if at == 0 else "even", rows)
        values = [None if gone else value(int(n)) for n, gone in zip(numbers, absent, strict=True)]
        columns[f"k{at}"] = _array(values, type_)
    some = random.random(rows) < 0.15
    columns["id"] = pa.array(np.arange(rows), pa.int64())
    columns["n"] = pa.array(random.integers(-50, 50, rows), pa.int32(), mask=some)
    columns["x"] = pa.array(random.choice([0.5, 1.25, -3.0, 8.0, 1e6], rows), mask=some)
    columns["s"] = pa.array(random.choice(["", "x", "yy", "ö"], rows).tolist(), pa.string())
    columns["at"] = pa.array(random.integers(0, 60, rows) * 1_000_000, pa.timestamp("us", "UTC"))
    columns["deep"] = pa.array(
        [{"a": [i, None], "b": f"p{i}"} for i in range(rows)],
        pa.struct({"a": pa.list_(pa.int64()), "b": pa.string()}),
    )
    columns["price"] = pa.array([Decimal(i % 997) / 100 for i in range(rows)], pa.decimal128(9, 2))
    return pa.table(columns)


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).dictionary_encode()
    return pa.array(values, type_)


# --- the oracle -----------------------------------------------------------------------------------


def asked(sql: str, **tables: pa.Table) -> pa.Table:
    """Return what DuckDB answers over whole tables."""
    with duckdb.connect(config={"threads": "1"}) as connection:
        connection.execute("SET TimeZone='UTC'")
        for name, table in tables.items():
            connection.register(name, table)
        return connection.sql(sql).to_arrow_table()


def rows_of(table: pa.Table, digits: int = 9) -> list[tuple[str, ...]]:
    """Return the rows as text in one order; -0.0 is 0.0, floats are rounded."""
    return sorted(lines_of(table, digits))


def lines_of(table: pa.Table, digits: int = 9) -> list[tuple[str, ...]]:
    """Return the rows as text, in their order."""
    lists = [[_text(value, digits) for value in column.to_pylist()] for column in table.columns]
    return list(zip(*lists, strict=True))


def _text(value: object, digits: int) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat() if value.tzinfo else value.isoformat()
    return f"{value + 0.0:.{digits}g}" if isinstance(value, float) else repr(value)
