"""What is wrong with an operator, as its author is told: what, where, of what kind, what to do."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.api import Dataset
from tests.rayorch.exchanges import Division, keyed_table, run_divided

DIVISION = Division(splits=3, slots=2)


def fails(rows: pa.Table) -> pa.Table:
    raise ValueError(f"no model for {rows.num_rows} rows")


def lists(rows):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - as authors write it.
    return [rows.num_rows]


class Own(ro.Aggregate):
    """Counts rows; its heirs do something wrong."""

    returns = pa.int64()

    def create(self) -> object:
        return 0

    def update(self, state: object, rows: pa.Table) -> object:
        return state

    def merge(self, one: object, other: object) -> object:
        return one

    def finish(self, state: object) -> object:
        return state


class FailsAtTheEnd(Own):
    def finish(self, state: object) -> object:
        raise LookupError("nothing to look up")


class FinishesWithText(Own):
    def finish(self, state: object) -> object:
        return "seven"


class KeepsALock(Own):
    def create(self) -> object:
        return threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    operate: Callable[[Dataset, Dataset], Dataset]
    error: str
    kind: str = "refused"
    says: tuple[str, ...]
    at_plan: bool = False  # before any task runs
    with_place: bool = True  # names the author's file


def planned(operate: Callable[[Dataset, Dataset], Dataset], error: str, *says: str) -> Wrong:
    return Wrong(operate=operate, error=error, says=says, at_plan=True, with_place=False)


def met(operate: Callable[[Dataset, Dataset], Dataset], error: str, *says: str) -> Wrong:
    return Wrong(operate=operate, error=error, says=says)


def raised(operate: Callable[[Dataset, Dataset], Dataset], error: str, *says: str) -> Wrong:
    return Wrong(operate=operate, error=error, says=says, kind="user")


def mapped(t: Dataset) -> Dataset:
    """Return rows whose columns nobody knows before they are made."""
    return t.map(lambda rows: rows, output="mapped")


WRONG: dict[str, Wrong] = {
    "a group function raises": raised(
        lambda t, _: t.map_groups(fails, by="k0"), "ValueError", "no model for"
    ),
    "a group function returns a list": met(
        lambda t, _: t.map_groups(lists, by="k0"), "ResultError", "returned list of 1"
    ),
    "an aggregate raises": raised(
        lambda t, _: t.aggregate("done", by="k0", own=("n", FailsAtTheEnd())),
        "LookupError",
        "nothing to look up",
    ),
    "an aggregate's value is of another type": met(
        lambda t, _: t.aggregate("done", by="k0", own=("n", FinishesWithText())),
        "SpecError",
        "returned what is no int64",
    ),
    "an aggregate's state cannot travel": met(
        lambda t, _: t.aggregate("done", by="k0", own=("n", KeepsALock())),
        "SpecError",
        "cannot travel",
        "lock",
    ),
    "a sum of text": met(
        lambda t, _: t.aggregate("done", by="k0", total=("s", "sum")),
        "SpecError",
        "has no sum",
        "total = ('s', 'sum')",
    ),
    "a sum too large": met(
        lambda t, _: t.aggregate("done", by="k1", total=("big", "sum")),
        "ValueRefusedError",
        "does not fit its column",
        "INT64",
    ),
    "a nested key": planned(
        lambda t, _: t.aggregate("done", by="deep", total=("n", "sum")),
        "KeyRefusedError",
        "column=deep",
    ),
    "a nested key, made": met(
        lambda t, _: mapped(t).aggregate("done", by="deep", total=("n", "sum")),
        "KeyRefusedError",
        "column=deep",
    ),
    "an order by a nested column": planned(
        lambda t, _: t.sort("done", "deep"), "KeyRefusedError", "column=deep"
    ),
    "keys that never compare": planned(
        lambda t, r: t.join("done", r, left_on="k0", right_on="k1"),
        "KeysApartError",
        "'k0' of the left is string, and 'k1' of the right is int64",
    ),
    "times of two units": planned(
        lambda t, r: t.join_asof("done", r, left_on="at", right_on="k1"),
        "KeysApartError",
        "timestamp[us, tz=UTC]",
    ),
    "a key that is not there": planned(
        lambda t, _: t.aggregate("done", by="k00", total=("n", "sum")),
        "MissingColumnError",
        "no column 'k00'; did you mean 'k0'?",
    ),
    "a key that is not made": raised(
        lambda t, _: mapped(t).aggregate("done", by="k00", total=("n", "sum")),
        "MissingColumnError",
        "no column 'k00'; did you mean 'k0'?",
    ),
    "an order that is not there": planned(
        lambda t, _: t.sort("done", "idd"), "MissingColumnError", "did you mean 'id'?"
    ),
    "an order that is not made": met(
        lambda t, _: mapped(t).sort("done", "idd"), "MissingColumnError", "did you mean 'id'?"
    ),
    "a key that the right has not": planned(
        lambda t, r: t.join("done", r, left_on="k0", right_on="kk"), "MissingColumnError", "'kk'"
    ),
    "a window over nothing": planned(
        lambda t, _: t.window("done", by="k0", order="id", sum_=("nx", "sum")),
        "MissingColumnError",
        "no column 'nx'",
    ),
    "two columns of one name": planned(
        lambda t, r: t.join("done", r, on="k0", suffix="x"),
        "SpecError",
        "two columns of the result have one name",
        "k1x",
    ),
    "inputs of a union that differ": Wrong(
        operate=lambda t, _: (
            t.select({"k": pc.field("k0")})
            .union("both", t.select({"k": pc.field("n")}))
            .dedupe("done")
        ),
        error="ExchangeTypesError",
        says=("string vs int32",),
        with_place=False,
    ),
}


def tables() -> dict[str, pa.Table]:
    random = np.random.default_rng(3)
    left = keyed_table(random, "half", 300, ("text", "int"))
    left = left.append_column("big", pa.repeat(2**62, left.num_rows))
    left = left.append_column("k1x", pa.repeat("x", left.num_rows))
    right = keyed_table(random, "even", 40, ("text", "int")).select(["k0", "k1", "n"])
    return {"l": left, "r": right.rename_columns(["k0", "k1", "m"])}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_an_operator_is_said(name: str) -> None:
    wrong = WRONG[name]

    def build(l: Dataset, r: Dataset) -> Mapping[str, Dataset]:  # noqa: E741
        return {"out": wrong.operate(l, r), "right": r}

    done = run_divided(build, tables(), DIVISION)

    assert done.view.state == "failed"
    error = done.view.error
    assert error is not None
    assert (error.error_type, error.kind) == (wrong.error, wrong.kind), error
    for text in wrong.says:
        assert text in error.message
    assert "bug" not in error.remedy
    assert "Traceback" not in error.message
    assert (done.view.first_start_s == 0.0) or not wrong.at_plan, "a task ran"
    if wrong.with_place:
        assert "test_exchange_errors.py:" in error.where
