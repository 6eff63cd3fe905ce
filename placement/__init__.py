"""A placement problem in, a plan out: no Ray, no I/O, no clock."""

from placement.bounds import Bounds, bounds_of
from placement.errors import (
    InfeasibleError,
    InvalidPlanError,
    InvalidProblemError,
    PlacementError,
    SolverError,
)
from placement.explain import ClassChoice, PoolOption, explain
from placement.following import nodes_wanted, pools_of
from placement.frontier import Point, frontier
from placement.layout import NO_POOL, Fleet, Layout, Part, check_layout
from placement.listsched import Schedule, shortest
from placement.model import (
    Budget,
    Deadline,
    Dep,
    Held,
    Network,
    Pool,
    Problem,
    Running,
    Spot,
    TaskClass,
    Weighted,
)
from placement.observed import Observed, remaining
from placement.plan import Candidate, Forecast, Plan
from placement.reasons import chance_to_meet, reasons_to_replan
from placement.replan import guard, replan
from placement.solve import solve
from placement.tables import Tables, tables_of
from placement.taskgraph import TaskGraph

__all__ = [
    "NO_POOL",
    "Bounds",
    "Budget",
    "Candidate",
    "ClassChoice",
    "Deadline",
    "Dep",
    "Fleet",
    "Forecast",
    "Held",
    "InfeasibleError",
    "InvalidPlanError",
    "InvalidProblemError",
    "Layout",
    "Network",
    "Observed",
    "Part",
    "PlacementError",
    "Plan",
    "Point",
    "Pool",
    "PoolOption",
    "Problem",
    "Running",
    "Schedule",
    "SolverError",
    "Spot",
    "Tables",
    "TaskClass",
    "TaskGraph",
    "Weighted",
    "bounds_of",
    "chance_to_meet",
    "check_layout",
    "explain",
    "frontier",
    "guard",
    "nodes_wanted",
    "pools_of",
    "reasons_to_replan",
    "remaining",
    "replan",
    "shortest",
    "solve",
    "tables_of",
]
