"""The MILP solver behind a matrix.

Matrices go to HiGHS as arrays: with its expression interface, building a model takes longer than
solving it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from placement.errors import SolverError

if TYPE_CHECKING:
    import highspy

    from placement.tables import Bools, Floats

_GAP: Final = 1e-4
# "Feasible" in HiGHS' SolutionStatus.
_FEASIBLE: Final = 2
_NODES_MAX: Final = 20_000


@dataclass(slots=True)
class Matrix:
    """A linear model under construction: columns with cost and bounds, rows as index lists."""

    cost: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    row_lower: list[float] = field(default_factory=list)
    row_upper: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    index: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)

    def column(
        self, cost: float = 0.0, *, low: float = 0.0, high: float = np.inf, whole: bool = False
    ) -> int:
        """Add a variable; its index."""
        self.cost.append(cost)
        self.lower.append(low)
        self.upper.append(high)
        self.whole.append(whole)
        return len(self.cost) - 1

    def row(self, terms: list[tuple[int, float]], low: float, high: float) -> None:
        """Add low <= sum of terms <= high."""
        self.index.extend(j for j, _ in terms)
        self.value.extend(v for _, v in terms)
        self.starts.append(len(self.index))
        self.row_lower.append(low)
        self.row_upper.append(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of the variables, their cost, and a proven bound on the least cost."""

    x: Floats
    cost: float
    bound: float
    is_proven: bool


def minimise(matrix: Matrix, *, limit_s: float, name: str, gap: float = _GAP) -> Solution:
    """Solve a linear model, whole variables included.

    A count of nodes ends the search before the time does, so that answers do not depend on the
    machine but where it is very slow.
    Raises: SolverError when there is no solution within the limit, none exists, or HiGHS is absent.
    """
    # An optional extra: without it plans are made all the same, with a weaker bound.
    try:
        import highspy  # noqa: PLC0415
    except ImportError as err:
        raise SolverError("highspy is not installed: the extra [solver] has it", name) from err

    highs: highspy.Highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("time_limit", limit_s)
    highs.setOptionValue("mip_rel_gap", gap)
    highs.setOptionValue("mip_max_nodes", _NODES_MAX)
    highs.passModel(_lp_of(matrix, highspy.HighsLp()))
    highs.run()
    status = highs.getModelStatus()
    info = highs.getInfo()
    kinds = highspy.HighsModelStatus
    proven = status == kinds.kOptimal
    if not proven and (status == kinds.kInfeasible or info.primal_solution_status != _FEASIBLE):
        raise SolverError(highs.modelStatusToString(status), name)
    has_whole = any(matrix.whole)
    bound = info.mip_dual_bound if has_whole else info.objective_function_value
    if not has_whole and not proven:
        bound = 0.0
    x = np.array(highs.getSolution().col_value, dtype=np.float64)
    return Solution(
        x=x, cost=float(info.objective_function_value), bound=float(bound), is_proven=proven
    )


def _lp_of(matrix: Matrix, lp: highspy.HighsLp) -> highspy.HighsLp:
    """Fill a model; the module's names are reached through it, as its import is optional."""
    import highspy  # noqa: PLC0415

    lp.num_col_, lp.num_row_ = len(matrix.cost), len(matrix.row_lower)
    lp.col_cost_ = np.array(matrix.cost)
    lp.col_lower_ = np.array(matrix.lower)
    lp.col_upper_ = np.array(matrix.upper)
    lp.row_lower_ = np.array(matrix.row_lower)
    lp.row_upper_ = np.array(matrix.row_upper)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array(matrix.starts, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(matrix.index, dtype=np.int32)
    lp.a_matrix_.value_ = np.array(matrix.value)
    whole: Bools = np.array(matrix.whole)
    if whole.any():
        kinds = highspy.HighsVarType
        lp.integrality_ = [kinds.kInteger if w else kinds.kContinuous for w in whole]
    return lp
