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
from rayorch.plan.placing import Standing, kept_to, runners_a_node

OUT_S: Final = 30.0
"""How long a pool that lost all of its runners is left alone."""
START_S_MAX: Final = 60.0
"""Runners that were asked for less than this ago are on their way, and count as there."""


def look(
    standing: Standing, observed: Observed, there: Mapping[str, int]
) -> tuple[tuple[str, ...], Problem | None, Standing]:
    """Return why a placement is to be made anew, what is left to place, and who runs since when.

    `there` has how many one-core slots each pool of the executor has now. No problem: nothing is
    left.
    """
    now_s = max(observed.at_s - observed.submitted_s, standing.problem.now_s)
    standing = _lost_noted(standing, observed, now_s)
    limits = _limits(standing, there)
    seen = _seen(standing, observed, now_s, limits)
    standing = replace(standing, up_s={held.pool: held.up_s for held in seen.held})
    before, notes = kept_to(standing.problem, now_s)
    reasons = [
        *notes,
        *placement.reasons_to_replan(before, seen, standing.layout, promised=standing.hit),
    ]
    reasons += _came_and_went(standing, limits)
    after = placement.remaining(before, seen)
    if after is None:
        return (), None, standing
    pools = tuple(replace(pool, nodes_max=limits[pool.name]) for pool in after.pools)
    return tuple(reasons), replace(after, pools=pools), standing


def _lost_noted(standing: Standing, observed: Observed, now_s: float) -> Standing:
    """Note which pools have runners, and leave those alone for a while that have just lost all.

    Whoever knows that a machine is dead may learn of it long after its runners fell silent.
    """
    out = {pool: until_s for pool, until_s in standing.out.items() if until_s > now_s}
    out |= {pool: now_s + OUT_S for pool in observed.lost if pool in standing.ran}
    ran = standing.ran | {pool for pool, count in observed.runners if count}
    return replace(standing, out=out, ran=ran - set(out))


def _limits(standing: Standing, there: Mapping[str, int]) -> dict[str, int]:
    """Return how many machines each pool has now."""
    nodes = {
        pool.name: min(_nodes(there.get(pool.name, 0), pool.vcpu), pool.max_nodes)
        for pool in standing.pools.pools
    }
    left = {name: 0 if name in standing.out else count for name, count in nodes.items()}
    # To leave all of them alone would be to wait.
    return left if any(left.values()) else nodes


def _seen(
    standing: Standing, observed: Observed, now_s: float, limits: Mapping[str, int]
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
    held = _held(standing, observed, now_s, limits)
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
    standing: Standing, observed: Observed, now_s: float, limits: Mapping[str, int]
) -> tuple[Held, ...]:
    runners = dict(observed.runners)
    coming: Mapping[str, int] = {}
    if now_s - standing.problem.now_s < START_S_MAX:
        coming = placement.nodes_wanted(standing.problem, standing.layout, now_s)
    held = []
    for pool in standing.pools.pools:
        nodes = math.ceil(runners.get(pool.name, 0) / runners_a_node(pool.vcpu, standing.cores))
        nodes = max(nodes, coming.get(pool.name, 0))
        nodes = min(nodes, limits[pool.name])
        if nodes:
            up_s = standing.up_s.get(pool.name, now_s)
            held.append(Held(pool=pool.name, count=nodes, up_s=up_s, ready_s=now_s))
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


def _nodes(slots: int, vcpu: float) -> int:
    return int(slots // vcpu)
