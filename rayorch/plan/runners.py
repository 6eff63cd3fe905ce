"""The runners that a placement wants: how many, of which size, in which pool, and when."""

from collections.abc import Mapping

import placement
from placement import Pool
from rayorch.core.placed import RunnersWanted
from rayorch.core.sizes import Size
from rayorch.plan.estimate import GB
from rayorch.plan.standing import Standing


def runners_wanted(standing: Standing) -> tuple[RunnersWanted, ...]:
    """Return when how many runners of each pool are wanted."""
    pools = {pool.name: pool for pool in standing.problem.pools}
    found = [
        _wanted(standing, pools[name], at_s, nodes, size)
        for name, at_s, nodes in _requests(standing)
        for size in _sizes_on(standing, pools[name])
    ]
    served = {Size(each.cores, each.memory_bytes, each.gpus) for each in found}
    for size in [size for size in _unplaced(standing) if size not in served]:
        # No class of it is in the problem yet: it goes where it costs least.
        fitting = [
            pool for pool in pools.values() if pool.nodes_max and machine_of(pool).holds(size)
        ]
        fitting.sort(key=lambda pool: (pool.gpus > 0.0 and not size.gpus, _usd_each(pool, size)))
        now_s = standing.problem.now_s
        found += [_wanted(standing, each, now_s, each.nodes_max, size) for each in fitting[:1]]
    return tuple(found)


def homeless(standing: Standing, limits: Mapping[str, int]) -> tuple[str, ...]:
    """Return the pools that stages without classes were to use, where none that they have is left.

    limits: how many machines each pool can have now.
    """
    pools: dict[Size, list[str]] = {size: [] for size in _unplaced(standing)}
    for each in runners_wanted(standing):
        pools.get(Size(each.cores, each.memory_bytes, each.gpus), []).append(each.pool)
    gone = [some for some in pools.values() if not any(limits[pool] for pool in some)]
    return tuple(sorted({pool for some in gone for pool in some}))


def _wanted(standing: Standing, pool: Pool, at_s: float, nodes: int, size: Size) -> RunnersWanted:
    return RunnersWanted(
        pool=pool.name,
        at_s=standing.submitted_s + at_s,
        count=nodes * max(1, machine_of(pool).holds(size)),
        nodes=nodes if pool.name in standing.elastic else 0,
        cores=size.cores,
        memory_bytes=size.memory_bytes,
        gpus=size.gpus,
    )


def _usd_each(pool: Pool, size: Size) -> float:
    return pool.usd_h / machine_of(pool).holds(size)


def _sizes_on(standing: Standing, pool: Pool) -> tuple[Size, ...]:
    """Return the sizes of the runners that a pool is to have, by what is left for it."""
    left = {cls.name for cls in standing.problem.classes}
    numbers = {
        each.stage
        for name, each in standing.placed.items()
        if name in left and pool.name in each.pools
    }
    sizes = [standing.sizes[number] for number in sorted(numbers)]
    machine, plain = machine_of(pool), not pool.gpus
    sizes += [size for size in _unplaced(standing) if machine.holds(size) and (plain or size.gpus)]
    return tuple(dict.fromkeys(sizes))


def _unplaced(standing: Standing) -> list[Size]:
    """Return the sizes of stages that have no classes: what they read was not measured then."""
    known = {cls.stage for cls in standing.classes}
    return [
        size
        for name, size in zip(standing.stages, standing.sizes, strict=True)
        if name not in known
    ]


def _requests(standing: Standing) -> list[tuple[str, float, int]]:
    """Return when how many machines of each pool are wanted: more at each request, never fewer.

    Nodes go when nothing is left for them, and that is seen as it happens, not planned.
    """
    problem, layout = standing.problem, standing.layout
    now_s = problem.now_s
    later = {fleet.at_s for fleet in layout.fleets if fleet.at_s is not None}
    times = [now_s, *sorted(at_s for at_s in later if at_s > now_s)]
    known: dict[str, int] = {}
    requests = []
    for at_s in times:
        for pool, nodes in placement.nodes_wanted(problem, layout, at_s).items():
            if nodes > known.get(pool, 0):
                known[pool] = nodes
                requests.append((pool, at_s, nodes))
    return requests


def machine_of(pool: Pool) -> Size:
    """Return how large a machine of a pool is."""
    return Size(pool.vcpu, round(pool.mem_gb * GB), pool.gpus)


def runners_a_node(standing: Standing, pool: Pool) -> int:
    """Return how many runners one machine of a pool has, of the least that it is to have."""
    sizes = _sizes_on(standing, pool) or standing.sizes
    return max(1, *(machine_of(pool).holds(size) for size in sizes))
