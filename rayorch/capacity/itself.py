"""The profiled run itself, simulated on its own machines: how far the simulator is off it."""

import math
from typing import Final

from rayorch.capacity.asking import Question
from rayorch.capacity.rehearsal import fixed
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.scenarios import Runs, Unsure, runs_of
from rayorch.capacity.thinning import thin_of
from rayorch.plan.pools import PoolsSpec, local_pools
from rayorch.plan.profile import Profile

UNCALIBRATED: Final = 0.05
"""What the simulator is taken to be off, in logarithms, where nobody has measured it."""
SELF_RUNS: Final = 3


def itself_of(profile: Profile, seed: int) -> Runs:
    """Return the profiled run as it is simulated, on its own runners."""
    pools = own_pools(profile)
    scaled = scaled_of(profile, 1.0, sum(profile.runners.values()))
    thin = thin_of(scaled, pools, 0.0, tasks=max(1, scaled.tasks))
    plan = fixed(thin, max(profile.whole_s, 1.0))
    there = dict.fromkeys(profile.runners, 1)
    still = Unsure(run=0.0, pools={})
    return runs_of(plan, SELF_RUNS, seed, still, there=there)


def own_pools(profile: Profile) -> PoolsSpec:
    """Return the machines of the profiled run: one for each pool, with the runners that it had."""
    cores = max(1.0, *(stage.cores for stage in profile.stages))
    here = local_pools(1, 1 << 50).pools[0]
    own = [
        here.model_copy(update={"name": pool, "vcpu": cores * count})
        for pool, count in profile.runners.items()
    ]
    return PoolsSpec(pools=own or [here])


def simulator_off(question: Question, simulated_s: float) -> float:
    """Return how far the simulator may be off, in logarithms.

    As was measured, or as it is off the profiled run itself, where that is more.
    """
    found = question.calibrated
    known = UNCALIBRATED if found is None else found.whole_median
    if question.profile.whole_s > 0.0 and not question.profile.resumed:
        known = max(known, abs(math.log(simulated_s / question.profile.whole_s)))
    return known
