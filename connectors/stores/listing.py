"""Key order out of the two orders in which object stores list.

S3, Google and Azure list in the order of the whole key: `a-b`, `a/b`, `a0`. Servers that keep
a tree of names (SeaweedFS) compare segment by segment: `a/b`, `a-b`, `a0`; they also read
"start after" in that order. The orders differ only where a name continues with a character
below the slash.
"""

from collections.abc import Iterable, Iterator

from connectors.store import ObjectInfo


def safe_offset(folder: str, after: str) -> str | None:
    """The furthest place to start after, so that in neither order a key above `after` is missed.

    None when that is the beginning of the folder. Some keys up to `after` may be served again.
    """
    if not after.startswith(folder):
        return None
    rest = after[len(folder) :]
    # What a tree lists before this name, although its key is greater, is in a folder named like
    # the part of it before such a character.
    below_slash = next((place for place, char in enumerate(rest) if char < "/"), len(rest))
    # One less: a tree that is told to start after a folder's name skips what is in the folder.
    start = rest[:below_slash].rstrip("/")[:-1]
    while start.endswith("/"):
        start = start[:-2]
    return folder + start if start else None


def in_key_order(found: Iterable[ObjectInfo], folder: str) -> Iterator[ObjectInfo]:
    """Yield what was served in either order by key, holding back as little as that needs.

    Only keys that begin alike up to the end of a name can be out of order among each other.
    """
    held: list[ObjectInfo] = []
    start = ""
    for info in found:
        if held and not info.key.startswith(start):
            yield from sorted(held, key=_key)
            held = []
        if not held:
            cut = info.key.find("/", len(folder))
            start = info.key if cut < 0 else info.key[:cut]
        held.append(info)
    yield from sorted(held, key=_key)


def _key(info: ObjectInfo) -> str:
    return info.key
