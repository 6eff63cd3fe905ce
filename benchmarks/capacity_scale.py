"""How long an answer of `rayorch capacity` takes for very many tasks on very many machines.

    python -m benchmarks.capacity_scale [--tasks 1000000] [--nodes 1000] [--scenarios 50]

A skewed stage (the largest task is nine times the mean), a pool on demand and one of spot machines,
and a deadline, so that plans are tried until one keeps it. Prints one JSON line; CPU seconds are of
one core.
"""

import argparse
import json
import time

import msgspec

from benchmarks.thinning import TASK_S, profile_of
from rayorch.capacity.answering import capacity
from rayorch.capacity.asking import Question
from rayorch.plan.pools import PoolsSpec

MEASURED_TASKS = 2_000
MEASURED_RUNNERS = 80
ROOM = 2.0
"""Times as long as all machines together would take: nearly all of them are needed."""
NODE_VCPU = 16


def question_of(tasks: int, nodes: int, scenarios: int) -> Question:
    """Return what is asked: so many tasks, on so many machines at most."""
    profile = msgspec.structs.replace(
        profile_of(MEASURED_TASKS, MEASURED_RUNNERS),
        whole_s=1.05 * MEASURED_TASKS * TASK_S / MEASURED_RUNNERS,
        core_s=MEASURED_TASKS * TASK_S,
    )
    machine = {"vcpu": NODE_VCPU, "memory": "64 GiB"}
    spot_nodes = nodes * 2 // 5
    spot = {"reclaims_per_h": 0.03, "outage_s": 1200}
    pools = [
        {"name": "here", "usd_h": 0.8, "max_nodes": nodes - spot_nodes, **machine},
        {"name": "spot", "usd_h": 0.39, "max_nodes": spot_nodes, "spot": spot, **machine},
    ]
    return Question(
        profile=profile,
        growth=tasks / MEASURED_TASKS,
        pools=PoolsSpec.model_validate({"pools": pools}),
        deadline_s=ROOM * tasks * TASK_S / (nodes * NODE_VCPU),
        scenarios=scenarios,
    )


def main() -> None:
    """Ask once and print the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--nodes", type=int, default=1_000)
    parser.add_argument("--scenarios", type=int, default=50)
    options = parser.parse_args()
    asked = question_of(options.tasks, options.nodes, options.scenarios)
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    found = capacity(asked)
    numbers = {
        "benchmark": "capacity_scale",
        **vars(options),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "wall_s": round(time.perf_counter() - begun_s, 2),
        "simulated_tasks": found.tasks,
        "machines": {need.pool: need.nodes for need in found.pools},
        "p95_s": round(found.finish.p95_s),
        "deadline_s": round(asked.deadline_s or 0.0),
        "refused": found.refused,
    }
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
