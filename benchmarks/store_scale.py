"""How many requests a second a store takes under one prefix, and how long it lists one.

    python -m benchmarks.store_scale [--url s3://bucket/folder] [--objects 10000] [--threads 16]

Objects of some hundred bytes are created (each once, as segments of a journal are), read and
listed, all under one prefix, and deleted again. Prints one JSON line; without a URL, of the
temporary folder of this machine. CPU seconds are of this process.
"""

import argparse
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from connectors.store import Store, open_store

OBJECTS: Final = 10_000
THREADS: Final = 16
DATA: Final = b"x" * 300
PREFIX: Final = "prefix/"


def rate_of(work: Callable[[str], object], keys: list[str], threads: int) -> float:
    """Return how many of these calls are done in a second, so many at once."""
    with ThreadPoolExecutor(threads) as pool:
        begun_s = time.perf_counter()
        for _ in pool.map(work, keys):
            pass
        return len(keys) / (time.perf_counter() - begun_s)


def list_s(store: Store, wanted: int, *, after: str = "") -> float:
    """Return the seconds until what is under the prefix has been listed."""
    begun_s = time.perf_counter()
    found = _count(store.list(PREFIX, after))
    assert found == wanted, (found, wanted)
    return time.perf_counter() - begun_s


def measured(store: Store, objects: int, threads: int) -> dict[str, float]:
    """Return requests a second and seconds of a listing; nothing is left in the store."""
    keys = [f"{PREFIX}{number:08d}" for number in range(objects)]

    def create(key: str) -> None:
        assert store.put_if_absent(key, DATA) == "won"

    try:
        creates = rate_of(create, keys, threads)
        gets = rate_of(store.get, keys, threads)
        whole_s = list_s(store, objects)
        # As a leader looks for what is new: after the last one that it knows.
        tail_s = list_s(store, 9, after=keys[-10])
    finally:
        store.delete(keys)
    return {
        "creates_a_second": round(creates),
        "gets_a_second": round(gets),
        "list_s": round(whole_s, 3),
        "list_us_an_object": round(1e6 * whole_s / objects, 1),
        "list_end_s": round(tail_s, 4),
    }


def _count(listed: Iterable[object]) -> int:
    return sum(1 for _ in listed)


def main() -> None:
    """Measure and print the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="")
    parser.add_argument("--objects", type=int, default=OBJECTS)
    parser.add_argument("--threads", type=int, default=THREADS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rayorch-store-") as folder:
        base = options.url.rstrip("/") or f"file://{folder}"
        # A folder of our own: whatever else is there is neither listed nor deleted.
        store = open_store(f"{base}/store-scale-{uuid.uuid4().hex[:12]}")
        cpu_s = time.process_time()
        found = measured(store, options.objects, options.threads)
        cpu_s = round(time.process_time() - cpu_s, 2)
    asked = {"objects": options.objects, "threads": options.threads}
    where = options.url or "this machine"
    print(json.dumps({"benchmark": "store_scale", "url": where, **asked, "cpu_s": cpu_s, **found}))


if __name__ == "__main__":
    main()
