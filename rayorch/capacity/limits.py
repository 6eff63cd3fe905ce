"""What runs out first: of each resource, how much is used now and would be with twice the data.

The slopes of the control plane were measured; `benchmarks/scale.md` has the commands.
"""

from typing import Final

from rayorch.capacity.asking import Question, Use
from rayorch.capacity.rehearsal import Prepared
from rayorch.capacity.scenarios import Runs
from rayorch.capacity.thinning import Thin
from rayorch.core.sizes import Size
from rayorch.sim.turns import TASK_CPU_S

TASK_MEMORY_BYTES: Final = 450
"""Of the scheduler's state for one task: the same, from 10,000 tasks to 60,000."""
CONTROL_MEMORY_BYTES: Final = 8 << 30
"""What a control actor is taken to have."""


def uses_of(
    question: Question,
    plan: Prepared,
    runs: Runs,
    doubled_plan: Prepared | None,
    doubled: Runs | None,
) -> tuple[Use, ...]:
    """Return the resources, the one that breaks first when data doubles before the others."""
    now = _shares(question, plan, runs)
    then = (
        {} if doubled_plan is None or doubled is None else _shares(question, doubled_plan, doubled)
    )
    if not then:
        # Twice the data did not fit: what grows with it is what it was.
        then = {name: (2.0 * share, why) for name, (share, why) in now.items()}
    found = [
        Use(name=name, share=share, doubled=then.get(name, (share, ""))[0], why=why)
        for name, (share, why) in now.items()
    ]
    return tuple(sorted(found, key=lambda use: -use.doubled))


def _shares(question: Question, plan: Prepared, runs: Runs) -> dict[str, tuple[float, str]]:
    thin, found = plan.thin, {}
    if question.deadline_s is not None:
        late_s = runs.quantile_s(question.confidence)
        found["the deadline"] = (late_s / question.deadline_s, "time of a run")
    for pool in question.pools.pools:
        nodes = runs.nodes.get(pool.name)
        if nodes is not None and nodes.any():
            share = float(nodes.max()) / pool.max_nodes
            found[f"machines of {pool.name}"] = (share, f"at most {pool.max_nodes} can be had")
    if question.nodes_max is not None:
        why = f"at most {question.nodes_max} can be had of all pools"
        found["machines in all"] = (runs.nodes_most / question.nodes_max, why)
    scaled = thin.scaled
    found["memory of a task"] = (_memory_share(thin), "of the part of a machine it has")
    tasks_s = scaled.tasks / max(runs.quantile_s(0.5), 1e-9)
    found["the control actor"] = (tasks_s * TASK_CPU_S, f"{tasks_s:.3g} tasks a second on a core")
    held = scaled.tasks * TASK_MEMORY_BYTES / CONTROL_MEMORY_BYTES
    found["memory of the control actor"] = (held, f"{scaled.tasks:,} tasks, of 8 GiB")
    return found


def _memory_share(thin: Thin) -> float:
    """Return what a task needs over what it has where it has most, of the scarcest kind."""
    machines = [
        (pool.name, Size(pool.vcpu, pool.memory, pool.gpus)) for pool in thin.full_pools.pools
    ]
    shares = []
    for number, size in enumerate(thin.scaled.sizes):
        own = [
            machine.memory_bytes // machine.holds(size)
            for pool, machine in machines
            if number in thin.rooms[pool].stages and machine.holds(size)
        ]
        shares += [size.memory_bytes / max(own)] if own else []
    return max(shares)
