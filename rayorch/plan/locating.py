"""Where the input of tasks lies, and what it is known by, by the URLs that their splits read."""

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from connectors.url import parse_url
from rayorch.core.near import KEY_BITS, pack_keys
from rayorch.home import StagePlan, decode_split

if TYPE_CHECKING:
    from rayorch.plan.pools import PoolsSpec


def sources_of(stage: StagePlan, pools: "PoolsSpec") -> list[str]:
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


KEPT_NOWHERE: Final = frozenset({"file", "memory"})
"""Schemes of what is read as it is, and not through a cache."""


def keys_of(stage: StagePlan) -> bytes:
    """Return the key of what each of a stage's tasks reads (`core.near`); nothing of local files.

    It is of the file where a split begins, and of the place in it: whoever cuts the same files for
    as many runners, in another run or for another pipeline, has the same keys.
    """
    roots = stage.discovery.roots
    if all(parse_url(root).scheme in KEPT_NOWHERE for root in roots):
        return b""
    keys = []
    for data in stage.works:
        key = b""
        for part in decode_split(data).parts[:1]:
            place = part.row_groups[0] if part.row_groups else part.start
            key = f"{roots[part.root]}\0{part.key}\0{place}".encode()
        digest = hashlib.blake2b(key, digest_size=KEY_BITS // 8, usedforsecurity=False).digest()
        keys.append(int.from_bytes(digest))
    return pack_keys(keys)
