"""What became of a placement while its run went: is there reason for another, and for what.

Pure. Times of a problem are seconds after the submission; those of facts are of the wall clock.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

import placement
from placement import Held, Problem, Running
from rayorch.core.placed import ClassSeen, Observed
from rayorch.plan.placing import kept_to
from rayorch.plan.pools import PoolSpec, nodes_of
from rayorch.plan.runners import homeless, machine_of, runners_a_node
from rayorch.plan.standing import Awaited, Standing

OUT_S: Final = 30.0
"""How long a pool that lost all of its runners is left alone."""
STUCK_S: Final = 600.0
"""How long nothing is asked of a pool that did not come; of spot its outage, if that is longer."""
PATIENCE: Final = 2.0
PATIENCE_S_MIN: Final = 30.0
"""Times the start-up that a pool is said to take, and what comes on top: the autoscaler looks every
few seconds, and a start-up is a mean."""
START_S_MAX: Final = 60.0
"""Runners that were asked for less than this ago are on their way, and count as there."""


def look(
    standing: Standing, observed: Observed, there: Mapping[str, int]
) -> tuple[tuple[str, ...], Problem | None, Standing]:
    """Return why a placement is to be made anew, what is left to place, and who runs since when.

    `there` has how many one-core slots each pool of the executor has now. No problem: nothing is
    left that a solver could place; with reasons, stages that it knows nothing of have to move, and
    the placement says where to (`moved`).
    """
    now_s = max(observed.at_s - observed.submitted_s, standing.problem.now_s)
    standing = _lost_noted(standing, observed, now_s)
    nodes = _nodes_there(standing, there)
    given_up = standing.stuck
    standing, late = awaited(standing, nodes, dict(observed.asked), now_s)
    limits = _limits(standing, nodes)
    seen = _seen(standing, observed, now_s, limits, nodes)
    # Those that are there come before those that are to come.
    up_s = {held.pool: held.up_s for held in reversed(seen.held)}
    standing = replace(standing, up_s=up_s)
    before, notes = kept_to(standing.problem, now_s)
    hit = standing.forecast.hit
    news = [*placement.reasons_to_replan(before, seen, standing.layout, promised=hit)]
    news += _came_and_went(standing, limits)
    # What of a pool can be had again, or not any more, is neither back nor gone.
    told = standing.stuck.keys() ^ given_up.keys()
    again = [f"pool {pool} is asked again" for pool in sorted(given_up.keys() - standing.stuck)]
    reasons = [*notes, *late, *again, *(each for each in news if not _is_of(each, told))]
    if gone := homeless(standing, limits):
        reasons = reasons or [f"pool {pool} is gone" for pool in gone]
    after = placement.remaining(before, seen)
    left = after or before
    pools = tuple(replace(pool, nodes_max=limits[pool.name]) for pool in left.pools)
    if after is not None:
        if not standing.layout.fleets:  # It was moved when all of them were done.
            reasons = reasons or ["tasks are to be done again"]
        return tuple(reasons), replace(left, pools=pools), standing
    if not gone:
        return (), None, standing
    # Nobody knows what is left: it only has to have machines.
    nowhere = replace(standing.layout, parts=(), fleets=())
    problem = replace(left, pools=pools, now_s=now_s, held=(), running=(), down=seen.down)
    return tuple(reasons), None, replace(standing, problem=problem, layout=nowhere)


def _lost_noted(standing: Standing, observed: Observed, now_s: float) -> Standing:
    """Note which pools have runners, and leave those alone for a while that have just lost all.

    Whoever knows that a machine is dead may learn of it long after its runners fell silent.
    """
    out = {pool: until_s for pool, until_s in standing.out.items() if until_s > now_s}
    out |= {pool: now_s + OUT_S for pool in observed.lost if pool in standing.ran}
    ran = standing.ran | {pool for pool, count in observed.runners if count}
    return replace(standing, out=out, ran=ran - set(out))


def _nodes_there(standing: Standing, there: Mapping[str, int]) -> dict[str, int]:
    """Return how many machines each pool has now."""
    return {
        pool.name: min(nodes_of(there.get(pool.name, 0), pool.vcpu), pool.max_nodes)
        for pool in standing.pools.pools
    }


def _limits(standing: Standing, there: Mapping[str, int]) -> dict[str, int]:
    """Return how many machines each pool can have: those it has, or more where they can be had."""
    nodes = {
        pool.name: pool.max_nodes
        if pool.name in standing.elastic and pool.name not in standing.stuck
        else there[pool.name]
        for pool in standing.pools.pools
    }
    left = {name: 0 if name in standing.out else count for name, count in nodes.items()}
    left = _some(standing, nodes, left)
    # What fits in a few of them has no others.
    for size in dict.fromkeys(standing.sizes):
        able = [pool.name for pool in standing.problem.pools if machine_of(pool).holds(size)]
        left |= _some(standing, nodes, {name: left[name] for name in able})
    return left


def _some(standing: Standing, nodes: Mapping[str, int], left: Mapping[str, int]) -> dict[str, int]:
    """Return how many machines some pools can have, none of those that are left alone for now.

    To leave all of them alone would be to wait; where nothing comes of any, it is to wait.
    """
    if not any(left.values()):
        left = {name: nodes[name] for name in left}
    if any(left.values()):
        return dict(left)
    most = {pool.name: pool.max_nodes for pool in standing.pools.pools}
    return {name: most[name] if name in standing.elastic else 0 for name in left}


def _seen(
    standing: Standing,
    observed: Observed,
    now_s: float,
    limits: Mapping[str, int],
    there: Mapping[str, int],
) -> placement.Observed:
    """Say what the core saw in the words of placement: of the classes that the problem has."""
    left = {cls.name: cls.count for cls in standing.problem.classes}
    known = [each for each in observed.classes if each.name in left]
    done = {
        each.name: min(max(0, each.done - standing.done.get(each.name, 0)), left[each.name])
        for each in known
    }
    open_tasks = {each.name: left[each.name] - done[each.name] for each in known}
    timed = {each.name: each for each in known if each.timed and each.took > 0.0}
    down = [name for name, nodes in limits.items() if not nodes]
    held = _held(standing, observed, now_s, limits, there)
    return placement.Observed(
        now_s=now_s,
        done=done,
        held=held,
        running=_running(standing, known, open_tasks, {each.pool for each in held}),
        down=tuple(down),
        slower={name: each.took / each.timed for name, each in timed.items()},
        measured={name: each.timed for name, each in timed.items()},
        spent_usd=observed.spent_usd,
    )


def _held(
    standing: Standing,
    observed: Observed,
    now_s: float,
    limits: Mapping[str, int],
    there: Mapping[str, int],
) -> tuple[Held, ...]:
    """Return the machines that work for the run, and those that were asked for and are to come."""
    runners = dict(observed.runners)
    coming: Mapping[str, int] = {}
    if now_s - standing.problem.now_s < START_S_MAX:
        coming = placement.nodes_wanted(standing.problem, standing.layout, now_s)
    wanted = dict(observed.asked)
    pools = {pool.name: pool for pool in standing.problem.pools}
    held = []
    for pool in standing.pools.pools:
        per_node = runners_a_node(standing, pools[pool.name])
        nodes = math.ceil(runners.get(pool.name, 0) / per_node)
        asked = wanted.get(pool.name, 0)
        if pool.name in standing.elastic:
            nodes = max(nodes, min(asked, there[pool.name]))
        else:
            nodes = max(nodes, coming.get(pool.name, 0))
        nodes = min(nodes, limits[pool.name])
        if nodes:
            up_s = standing.up_s.get(pool.name, now_s)
            held.append(Held(pool=pool.name, count=nodes, up_s=up_s, ready_s=now_s))
        missing = min(asked, limits[pool.name]) - nodes
        if missing > 0 and pool.name in standing.elastic:
            since = standing.awaited.get(pool.name, Awaited(now_s, nodes)).since_s
            up_s = max(now_s, since + pool.provision_s)
            ready_s = up_s + pool.boot_s
            held.append(Held(pool=pool.name, count=missing, up_s=up_s, ready_s=ready_s))
    return tuple(held)


def _running(
    standing: Standing,
    known: Sequence[ClassSeen],
    open_tasks: Mapping[str, int],
    held: Collection[str],
) -> tuple[Running, ...]:
    """Say what runs where; nobody knows since when, so that each is taken to be half done.

    A task may run twice, or be committed by another meanwhile: no more than are open can count.
    """
    found = []
    for each in known:
        placed = standing.placed[each.name]
        expected_s = dict(zip(placed.pools, placed.expected_s, strict=True))
        left = open_tasks[each.name]
        for pool, running in each.running:
            count = min(running, left)
            if count and pool in held and pool in expected_s:
                left -= count
                half_s = expected_s[pool] / 2.0
                found.append(Running(cls=each.name, pool=pool, count=count, elapsed_s=half_s))
    return tuple(found)


def _came_and_went(standing: Standing, limits: Mapping[str, int]) -> list[str]:
    """Say which pools have more or fewer machines than the placement knows of."""
    found = []
    for pool in standing.problem.pools:
        now = limits[pool.name]
        # Pools that are gone or back are told of already.
        if now != pool.nodes_max and now and pool.nodes_max:
            found.append(f"pool {pool.name} has {now} nodes, not {pool.nodes_max}")
    return found


def awaited(
    standing: Standing, there: Mapping[str, int], wanted: Mapping[str, int], now_s: float
) -> tuple[Standing, tuple[str, ...]]:
    """Note which machines have been asked for and are not there, and of which none comes in time.

    Such a pool is taken as it is for a while: the run is planned on others meanwhile.
    """
    if not standing.elastic:
        return standing, ()
    stuck = {pool: until_s for pool, until_s in standing.stuck.items() if until_s > now_s}
    waits, late = {}, []
    for pool in standing.pools.pools:
        name = pool.name
        if name not in standing.elastic or name in stuck or wanted.get(name, 0) <= there[name]:
            continue
        before = standing.awaited.get(name)
        if before is None or there[name] > before.nodes:
            before = Awaited(now_s, there[name])
        waited_s, patience_s = now_s - before.since_s, patience_of(pool)
        if waited_s <= patience_s:
            waits[name] = before
            continue
        stuck[name] = now_s + (STUCK_S if pool.spot is None else max(STUCK_S, pool.spot.outage_s))
        late.append(
            f"pool {name} cannot be had: {there[name]} of {wanted[name]} nodes are there, "
            f"and none came in {waited_s:.0f} s (expected {pool.provision_s + pool.boot_s:.0f} s)"
        )
    return replace(standing, awaited=waits, stuck=stuck), tuple(late)


def patience_of(pool: PoolSpec) -> float:
    """Return how long to wait for a machine that was asked for before it is given up."""
    return PATIENCE * (pool.provision_s + pool.boot_s) + PATIENCE_S_MIN


def _is_of(news: str, pools: Collection[str]) -> bool:
    return any(news.startswith(f"pool {pool} ") for pool in pools)
