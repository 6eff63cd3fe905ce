"""The profiled run itself, simulated on its own machines: how far the simulator is off it."""

import math
from collections.abc import Sequence
from typing import Final

from rayorch.capacity.asking import Question
from rayorch.capacity.rehearsal import fixed
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.scenarios import Runs, Unsure, runs_of
from rayorch.capacity.thinning import thin_of
from rayorch.core.sizes import PART_MIN
from rayorch.plan.pools import PoolsSpec, local_pools
from rayorch.plan.profile import Profile, RunnersSeen

UNCALIBRATED: Final = 0.05
"""What the simulator is taken to be off, in logarithms, where nobody has measured it."""
SELF_RUNS: Final = 3


def itself_of(profile: Profile, seed: int) -> Runs:
    """Return the profiled run as it is simulated, on its own runners."""
    pools = own_pools(profile)
    scaled = scaled_of(profile, 1.0, sum(profile.runners.values()))
    thin = thin_of(scaled, pools, {}, tasks=max(1, scaled.tasks))
    plan = fixed(thin, max(profile.whole_s, 1.0))
    there = dict.fromkeys(profile.runners, 1)
    still = Unsure(run=0.0, pools={})
    return runs_of(plan, SELF_RUNS, seed, still, there=there)


def own_pools(profile: Profile) -> PoolsSpec:
    """Return the machines of the profiled run: one for each pool, with the runners that it had.

    Runners of different sizes take turns on it.
    """
    here = local_pools(1, 1 << 50).pools[0]
    own = []
    for pool, count in profile.runners.items():
        seen = profile.sized.get(pool) or _taken(profile, pool, count)
        changes: dict[str, object] = {
            "name": pool,
            "vcpu": max(each.cores * each.count for each in seen),
            "gpus": max(_devices(each.gpus, each.count) for each in seen),
        }
        own.append(here.model_copy(update=changes))
    return PoolsSpec(pools=own or [here])


def _taken(profile: Profile, pool: str, count: int) -> tuple[RunnersSeen, ...]:
    """Return what runners a pool is taken to have had, where only their number was noted."""
    plain = max([1.0, *(stage.cores for stage in profile.stages if not stage.gpus)])
    found = [RunnersSeen(count, plain)]
    some = [stage for stage in profile.stages if stage.gpus and pool in stage.pools]
    if some:
        cores = max([1.0, *(stage.cores for stage in some)])
        found.append(RunnersSeen(count, cores, gpus=max(stage.gpus for stage in some)))
    return tuple(found)


def untold_gpus(profile: Profile) -> Sequence[str]:
    """Say where nobody noted which runners of the profiled run had a GPU."""
    if profile.sized or not any(stage.gpus for stage in profile.stages if stage.tasks):
        return ()
    said = (
        "how many runners of the profiled run had a GPU: of pools with such tasks, all are taken "
        "to have had one (`rayorch profile` of a run of this version says it)"
    )
    return (said,)


def _devices(each: float, runners: int) -> float:
    """Return the GPUs that so many runners have: parts of two devices are not a whole one."""
    if not each or each >= 1.0:
        return each * runners
    return float(math.ceil(runners / math.floor(1.0 / each + PART_MIN)))


def simulator_off(question: Question, simulated_s: float) -> float:
    """Return how far the simulator may be off, in logarithms.

    As was measured, or as it is off the profiled run itself, where that is more.
    """
    found = question.calibrated
    known = UNCALIBRATED if found is None else found.whole_median
    if question.profile.whole_s > 0.0 and not question.profile.resumed:
        known = max(known, abs(math.log(simulated_s / question.profile.whole_s)))
    return known
