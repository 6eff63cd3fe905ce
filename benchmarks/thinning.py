"""How far a thinned simulation is off the same workload simulated as it is.

    python -m benchmarks.thinning [--tasks 2000] [--runners 80] [--seeds 3]

Tasks are skewed (the largest is nine times the mean), on machines that run already. Thinned, one
runner stands for `runners / 20`. Prints a JSON line: seconds and core hours of both, and how far
the thinned ones are off, for each of the seeds and for their means.
"""

import argparse
import json
import time
from typing import Final

from rayorch.capacity.rehearsal import fixed
from rayorch.capacity.scaling import scaled_of
from rayorch.capacity.scenarios import Runs, Unsure, runs_of
from rayorch.capacity.thinning import thin_of
from rayorch.plan.estimate import History, Measured, Work, observe
from rayorch.plan.pools import PoolsSpec
from rayorch.plan.profile import KIND, VERSION, Profile, StageProfile, shape_of

TASK_S: Final = 20.0
TASK_BYTES: Final = 100_000_000
NODE_RUNNERS: Final = 4


def profile_of(tasks: int, runners: int) -> Profile:
    """Return a profile of one stage of so many tasks."""
    work = Work(TASK_BYTES, 1_000_000)
    history = observe(History("v"), [Measured(work, "here", TASK_S)] * 50)
    stage = StageProfile(
        name="lines",
        tasks=tasks,
        memory_bytes=1 << 30,
        measured=tasks,
        size_bytes=tasks * TASK_BYTES,
        rows=tasks * 1_000_000,
        pools=history.pools,
        spread=shape_of([0.6] * 50 + [1.2] * 45 + [2.5] * 4 + [9.0]),
    )
    return Profile(
        kind=KIND,
        version=VERSION,
        pipeline="skewed",
        state="succeeded",
        stages=(stage,),
        runners={"here": runners},
    )


def simulated(tasks: int, runners: int, seeds: int, *, thinned: bool) -> Runs:
    """Simulate a workload as it is, or thinned."""
    scaled = scaled_of(profile_of(tasks, runners), 1.0, runners)
    nodes = runners // NODE_RUNNERS
    pools = PoolsSpec.model_validate(
        {"pools": [{"name": "here", "vcpu": NODE_RUNNERS, "memory": "64 GiB", "max_nodes": nodes}]}
    )
    thin = thin_of(scaled, pools, {"here": runners}, **({} if thinned else {"tasks": tasks}))
    there = {"here": thin.pools.pools[0].max_nodes}
    plan = fixed(thin, tasks * TASK_S / runners)
    return runs_of(plan, seeds, 0, Unsure(run=0.0, pools={}), there=there)


def main() -> None:
    """Run both and print the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--runners", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    found = {}
    for thinned in (False, True):
        begun_s = time.process_time()
        runs = simulated(options.tasks, options.runners, options.seeds, thinned=thinned)
        found["thinned" if thinned else "whole"] = {
            "end_s": [round(float(each), 1) for each in runs.whole_s],
            "core_hours": round(float(runs.core_hours.mean()), 3),
            "mean_s": round(float(runs.whole_s.mean()), 1),
            "cpu_s": round(time.process_time() - begun_s, 2),
        }
    whole, thin = found["whole"], found["thinned"]
    off = {
        name: round(float(thin[name]) / float(whole[name]) - 1.0, 4)
        for name in ("mean_s", "core_hours")
    }
    print(json.dumps({"benchmark": "thinning", **vars(options), **found, "off": off}))


if __name__ == "__main__":
    main()
