"""The runners that a run is to have: of each size that it has work for, where its plan says."""

from collections.abc import Iterable

from rayorch.core.commands import EnsureRunners
from rayorch.core.facts import PlacementReady
from rayorch.core.flow import Flow, Wanted
from rayorch.core.run import Run
from rayorch.ids import EventId


def ensure_runners(run: Run, flow: Flow, cause: EventId, at_s: float) -> Iterable[EnsureRunners]:
    """Ask for runners of each size that a run has work for, where its placement wants them now."""
    placement = run.placement
    if flow.is_held:
        return  # A machine that waits along is paid for.
    left = {lane.size: flow.left(lane.size) for lane in flow.lanes}
    if placement is None or not placement.runners:
        wanted: Wanted = {("", size): count for size, count in left.items()}
    else:
        wanted = flow.wanted = wanted_at(placement, flow, at_s)
        known = {size for each in placement.runners for size in flow.sizes_of(each)}
        # What no plan has thought of is not to wait for ever.
        wanted = {**wanted, **{("", size): n for size, n in left.items() if size not in known}}
    for (pool, size), count in wanted.items():
        count_max = min(count, left.get(size, 0))
        if count_max and pool not in flow.dear:
            yield EnsureRunners(cause, run.id, *size[:2], count_max, pool, size.gpus)


def wanted_at(placement: PlacementReady, flow: Flow, at_s: float) -> Wanted:
    """Return how many runners of each pool and size a placement wants at a time."""
    wanted: Wanted = {}
    for each in placement.runners:
        if each.at_s <= at_s:
            wanted.update({(each.pool, size): each.count for size in flow.sizes_of(each)})
    return wanted
