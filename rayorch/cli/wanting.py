"""What a plan or a run is asked for: an objective and pools, from options and the pipeline."""

import math
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from rayorch.cli.errors import OptionError
from rayorch.cli.options import Options
from rayorch.cli.parameters import ASKED_OF_NOBODY
from rayorch.client import usable_cores
from rayorch.plan.asking import Asked
from rayorch.plan.emulating import Emulation, emulation_of, parsed_sizes
from rayorch.plan.pool_files import read_pool_file, read_pools
from rayorch.plan.pools import PoolsSpec, local_pools, no_price
from rayorch.spec.objective import Budget, Deadline, Objective

PLOTS: Final = (".png", ".svg")
_UNITS_S: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_TIME: Final = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:d|h|m|s)\s*)+|[0-9]+(?:\.[0-9]+)?")
_TIME_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(d|h|m|s|)")
DEADLINE_S_MIN: Final = 1e-6  # What a timedelta can say.
DEADLINE_S_MAX: Final = 366 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to place a plan for; `budget_usd` is a limit on top of a deadline."""

    objective: Objective | None
    pools: PoolsSpec
    budget_usd: float | None = None


def wanted_of(options: Options, objective: Objective | None, slots: int) -> Wanted | None:
    """Return what to place for; None when nothing asks for it.

    Options go before the pipeline's own objective.
    Raises: OptionError, PoolsError.
    """
    if objective is None and not options.is_placing:
        return None
    if options.plot is not None and Path(options.plot).suffix.lower() not in PLOTS:
        raise OptionError("a picture is .png or .svg", "--plot", options.plot)
    pools = pools_of(options) or this_machine(slots)
    objective, budget_usd = _objective(options, objective, pools)
    return Wanted(objective=objective, pools=pools, budget_usd=budget_usd)


def asked_of(options: Options, objective: Objective | None) -> Asked | None:
    """Return what a run is to keep to; None when nothing asks for it. As `wanted_of`."""
    if objective is None and not options.is_placing:
        return None
    return asked_anew(options, Asked(objective=objective))


def asked_anew(options: Options, before: Asked) -> Asked:
    """Return what a run is to keep to: options go before what it was asked. As `wanted_of`."""
    pools, file = before.pools, before.file
    named = pools_of(options)
    if named is not None:
        pools, file = named, options.pools or options.emulate or ""
    objective, budget_usd = _objective(options, before.objective, pools)
    if options.deadline is None and options.budget is None:
        budget_usd = before.budget_usd
    autoscale = options.autoscale or before.autoscale
    if autoscale and pools is None:
        raise OptionError(ASKED_OF_NOBODY, "--autoscale", "")
    if options.autoscale and options.emulate is not None:
        problem = "emulated nodes are as many as they are; leave one of the two out"
        raise OptionError(problem, "--autoscale", "--emulate")
    return Asked(
        pools=pools,
        file=file,
        objective=objective,
        budget_usd=budget_usd,
        autoscale=autoscale,
    )


def pools_of(options: Options) -> PoolsSpec | None:
    """Return the pools of the file that options name. Raises: OptionError, PoolsError."""
    if options.pools is None and options.emulate is not None:
        return emulation_wanted(options).pools
    if options.pools is None:
        if options.prices is not None:
            problem = "a price book is about the machines of a file: --pools FILE"
            raise OptionError(problem, "--prices", options.prices)
        return None
    return read_pools(options.pools, options.prices)


def emulation_wanted(options: Options) -> Emulation:
    """Return the nodes that stand for a cluster file. Raises: OptionError, PoolsError."""
    assert options.emulate is not None
    try:
        sizes = parsed_sizes(options.emulate_nodes) if options.emulate_nodes else None
    except ValueError as error:
        raise OptionError(str(error), "--emulate-nodes", str(options.emulate_nodes)) from None
    file = read_pool_file(options.emulate, options.prices)
    return emulation_of(file, usable_cores(), sizes=sizes, slots_max=options.slots)


def _objective(
    options: Options, objective: Objective | None, pools: PoolsSpec | None
) -> tuple[Objective | None, float | None]:
    """Return the objective, and the budget on top of a deadline. Raises: OptionError."""
    budget_usd = options.budget
    if budget_usd is not None and not math.isfinite(budget_usd):
        raise OptionError("a budget is a finite number of dollars", "--budget", str(budget_usd))
    if budget_usd is not None and (pools is None or not pools.is_priced):
        raise OptionError(no_price(pools), "--budget", f"{budget_usd:g}")
    if options.deadline is not None:
        return Deadline(timedelta(seconds=parsed_s(options.deadline))), budget_usd
    return (objective, None) if budget_usd is None else (Budget(budget_usd), None)


def parsed_s(text: str, option: str = "--deadline") -> float:
    """Return the seconds of `90s`, `30m`, `1h30m` or `90`. Raises: OptionError."""
    said = text.strip().lower()
    if not _TIME.fullmatch(said):
        raise OptionError("a time is like 90s, 30m or 1h30m", option, repr(text))
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _TIME_PART.findall(said))
    if not DEADLINE_S_MIN <= seconds <= DEADLINE_S_MAX:
        what = "a deadline" if option == "--deadline" else "a time"
        raise OptionError(f"{what} is above 0 and within a year", option, repr(text))
    return seconds


def this_machine(slots: int) -> PoolsSpec:
    """Return this machine as the only pool."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return local_pools(slots, memory_bytes)
