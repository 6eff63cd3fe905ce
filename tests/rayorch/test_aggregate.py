"""An author's own aggregate: what it must have, and that it is what kernels call."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import rayorch as ro
from rayorch.aggregate import user_aggregate
from tests.rayorch.refusals import refusal


class Longest(ro.Aggregate):
    """The length of the longest text."""

    returns = pa.int64()

    def create(self) -> int:
        return 0

    def update(self, state: int, rows: pa.Table) -> int:
        return max(state, int(pc.max(pc.utf8_length(rows.column(0))).as_py() or 0))

    def merge(self, one: int, other: int) -> int:
        return max(one, other)

    def finish(self, state: int) -> int:
        return state


def test_kernels_call_the_methods_of_the_object() -> None:
    made = user_aggregate(Longest(), "measures.longest")
    first, second = (pa.table({"t": texts}) for texts in (["a", "abc"], ["ab"]))

    state = made.merge(made.update(made.create(), first), made.update(made.create(), second))

    assert made.finish(state) == 3
    assert made.returns == pa.int64()


def test_a_class_without_all_four_methods_cannot_be_made() -> None:
    class Half(ro.Aggregate):
        returns = pa.int64()

        def create(self) -> int:
            return 0

    half: Any = Half
    with pytest.raises(TypeError, match=r"finish.*merge.*update"):
        half()


def test_the_type_of_the_result_must_be_said() -> None:
    """The result has columns before there is a row to take them from."""

    class Untyped(Longest):
        returns: Any = "int64"

    assert refusal(lambda: user_aggregate(Untyped(), "measures.longest")) == (
        "an aggregate must say the type of its result. "
        "field=measures.longest, "
        f"value={Untyped.__qualname__}\n"
        "  for example: returns = pa.float64()"
    )
