"""An aggregate of the author's own, for `Dataset.aggregate`."""

from abc import ABC, abstractmethod
from typing import Any, Final

import pyarrow as pa

from rayorch.errors import SpecError
from rayorch.relational import UserAggregate


class Aggregate(ABC):
    """A function from the rows of a group to one value, made so that parts of a group may merge.

        class GeometricMean(rayorch.Aggregate):
            returns = pa.float64()

            def create(self):
                return 0.0, 0

            def update(self, state, rows):
                logs = pc.ln(rows.column(0))
                return state[0] + (pc.sum(logs).as_py() or 0.0), state[1] + len(logs)

            def merge(self, one, other):
                return one[0] + other[0], one[1] + other[1]

            def finish(self, state):
                return math.exp(state[0] / state[1]) if state[1] else None

        lines.aggregate("typical", by="l_partkey", price=("l_extendedprice", GeometricMean()))

    Rows come in any order and in any division: `merge` must give the state that one `update` with
    the rows of both would have given. States travel between processes by pickle; a small one is
    what makes an aggregate cheap. Every method may be called often, in many processes, on copies
    of the object: what is learned must be in the state.
    """

    returns: pa.DataType
    """The type of the result, such as pa.float64()."""

    @abstractmethod
    def create(self) -> Any:  # noqa: ANN401 - a state is whatever its author makes it.
        """Return the state of no rows."""

    @abstractmethod
    def update(self, state: Any, rows: pa.Table) -> Any:  # noqa: ANN401
        """Return the state with some more rows of the group in it.

        The table holds the columns that the measure names, in its order; of "*", all columns.
        """

    @abstractmethod
    def merge(self, one: Any, other: Any) -> Any:  # noqa: ANN401
        """Return the state of the rows of both. It may be `one`, changed."""

    @abstractmethod
    def finish(self, state: Any) -> object:  # noqa: ANN401
        """Return the value: None, a Python value, or a pa.Scalar."""


_EXAMPLE: Final = "for example: returns = pa.float64()"


def user_aggregate(given: Aggregate, field: str) -> UserAggregate:
    """Return what kernels call of an author's aggregate.

    Raises: SpecError, when it does not say the type of its result.
    """
    returns = getattr(given, "returns", None)
    kind = type(given).__qualname__
    if not isinstance(returns, pa.DataType):
        raise SpecError(
            "an aggregate must say the type of its result", field=field, value=kind, fix=_EXAMPLE
        )
    return UserAggregate(
        create=given.create,
        update=given.update,
        merge=given.merge,
        finish=given.finish,
        returns=returns,
    )
