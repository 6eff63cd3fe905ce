"""Where the input of tasks lies, by the URLs that their splits read."""

from collections import Counter

from rayorch.home import StagePlan, decode_split
from rayorch.plan.pools import PoolsSpec


def sources_of(stage: StagePlan, pools: PoolsSpec) -> list[str]:
    """Return where the input of each of a stage's tasks lies: most of its bytes, where it differs.

    What is of no file, such as a range of numbers, is where the data is by default.
    """
    places = [pools.location_of(root) for root in stage.discovery.roots]
    if len(set(places)) <= 1:
        return [places[0] if places else pools.source] * len(stage.splits)
    found = []
    for data in stage.splits:
        sizes: Counter[str] = Counter()
        for part in decode_split(data).parts:
            sizes[places[part.root]] += max(1, (part.end or part.size_bytes) - part.start)
        # Of equals the first name, so that the same plan is made of the same files.
        found.append(min(sizes, key=lambda place: (-sizes[place], place), default=pools.source))
    return found
