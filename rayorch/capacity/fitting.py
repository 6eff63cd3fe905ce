"""Which stages of a workload run on machines of which pools, and how many runners have room there.

As in a run: what needs a GPU goes where one is, and nothing else does that can do without.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rayorch.capacity.errors import CapacityError
from rayorch.capacity.scaling import Scaled
from rayorch.core.sizes import Size
from rayorch.plan.needs import size_text
from rayorch.plan.pools import PoolsSpec

LEFT_OVER: Final = 0.07
"""Of the runners of a machine: what may be lost where it is cut into parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a machine of full size has room for, and how it is thinned.

    Units: `runners` of the size that most fit of; `parts` that it is cut into, where `factor`
    runners are one; `stages` are those that work on its pool, and those that share others with
    them.
    """

    runners: int
    parts: int
    stages: frozenset[int]
    factor: float = 1.0


def fitting(scaled: Scaled, pools: PoolsSpec) -> tuple[PoolsSpec, dict[str, Room]]:
    """Return the pools whose machines hold a runner, and what room one of them has.

    As in a run, what needs no GPU is kept off machines that have some, unless there are no others
    for it, and they are asked for by workloads alone of which something needs one.
    Raises: CapacityError, naming what fits nowhere, and what there is.
    """
    busy = [
        (number, scaled.sizes[number]) for number, each in enumerate(scaled.stages) if each.tasks
    ]
    with_gpus = any(size.gpus for _, size in busy)
    machines = {
        pool.name: Size(pool.vcpu, pool.memory, pool.gpus)
        for pool in pools.pools
        if with_gpus or not pool.gpus
    }
    on: dict[str, list[int]] = {pool: [] for pool in machines}
    for number, size in busy:
        able = [name for name, machine in machines.items() if machine.holds(size)]
        plain = [name for name in able if not machines[name].gpus]
        if not able:
            raise _fits_nowhere(scaled, size, pools)
        for name in plain if plain and not size.gpus else able:
            on[name].append(number)
    fit = [pool for pool in pools.pools if on.get(pool.name)]
    kept = pools.model_copy(update={"pools": fit, "data_location": pools.source})
    rooms = {}
    for pool in fit:
        sizes = {scaled.sizes[number] for number in on[pool.name]}
        counts = [machines[pool.name].holds(size) for size in sizes]
        rooms[pool.name] = Room(
            runners=max(counts),
            parts=_parts(counts, pool.vcpu),
            stages=_connected(on, on[pool.name]),
        )
    return kept, rooms


def _connected(on: Mapping[str, Sequence[int]], stages: Sequence[int]) -> frozenset[int]:
    """Return the stages that share pools with these, with those that share others with them..."""
    known = frozenset(stages)
    while True:
        more = known.union(*(some for some in on.values() if known.intersection(some)))
        if more == known:
            return known
        known = more


def _parts(counts: Sequence[int], cores: float) -> int:
    """Return into how many parts a machine is cut, so that each has one runner or a few.

    `counts` are of each size that it has runners of, one after the other. As many parts as there
    can be, where each has a core, and of no size many runners are left over.
    """
    for parts in range(min(*counts, int(cores)), 1, -1):
        if all(count % parts <= LEFT_OVER * count for count in counts):
            return parts
    return 1


def _fits_nowhere(scaled: Scaled, need: Size, pools: PoolsSpec) -> CapacityError:
    names = [
        repr(stage.profile.name)
        for stage, size in zip(scaled.stages, scaled.sizes, strict=True)
        if size == need and stage.tasks
    ]
    machines = {pool.name: Size(pool.vcpu, pool.memory, pool.gpus) for pool in pools.pools}
    has = ", ".join(f"{pool} has {size_text(machine)}" for pool, machine in machines.items())
    problem = (
        f"no machine of these pools holds a task of {' or '.join(names)}: it needs "
        f"{size_text(need)}; {has}"
    )
    if need.gpus and not any(machine.gpus for machine in machines.values()):
        key = "`gpus: 1` in a file of pools, `resources: {GPU: 1}` in a cluster.yaml"
        return CapacityError(problem, f"name a pool with GPUs ({key}): --pools FILE")
    if not need.gpus and any(machine.holds(need) for machine in machines.values()):
        problem += ", and machines with GPUs are for runs that need one"
        return CapacityError(problem, "name a pool without GPUs, too: --pools FILE")
    return CapacityError(problem, "name pools with larger machines: --pools FILE")
